/** What an administrator asks of the enrolment over the control socket; beside admin.ts, because it lives outside of the Server. */
import * as z from "zod/mini";
import type { Enrollment, EnrollTokenView } from "./enrollment.ts";

const request = z.strictObject({ command: z.literal("enroll-token"), agent: z.string(), replace: z.boolean() });

export type EnrollRequest = z.infer<typeof request>;

/** The answer; undefined when the question is for somebody else. Rejects as Enrollment.makeToken does. */
export function answerEnroll(enrollment: Enrollment, value: unknown): Promise<EnrollTokenView> | undefined {
  const parsed = z.safeParse(request, value);
  return parsed.success ? enrollment.makeToken(parsed.data.agent, parsed.data.replace) : undefined;
}
