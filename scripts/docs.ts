/** `bun scripts/docs.ts`: prints the configuration reference, which docs/configuration.md holds. */
import { configReference } from "#config/reference.ts";

process.stdout.write(configReference());
