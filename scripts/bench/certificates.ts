/** Certificates for the benchmark, made by openssl so that both sides of the comparison use the same ones. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { mustRun } from "#scripts/lib/run.ts";
import type { Certificates } from "./contender.ts";

export const BENCH_AGENT = "bench-agent";

/** Makes a CA, a server certificate for the loopback interface and an agent's; once. */
export async function ensureCertificates(directory: string): Promise<Certificates> {
  const at = (name: string): string => path.join(directory, name);
  const certificates: Certificates = {
    ca: at("ca.pem"),
    serverCert: at("server.pem"),
    serverKey: at("server-key.pem"),
    agentCert: at("agent.pem"),
    agentKey: at("agent-key.pem"),
  };
  if (await Bun.file(certificates.agentCert).exists()) return certificates;
  await mkdir(directory, { recursive: true });
  const make = async (key: string, cert: string, subject: string, extensions: readonly string[]): Promise<void> => {
    const issuer = cert === certificates.ca ? [] : ["-CA", certificates.ca, "-CAkey", at("ca-key.pem")];
    const parts = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365", "-subj", subject];
    const added = extensions.flatMap((extension) => ["-addext", extension]);
    await mustRun(["openssl", "req", "-x509", ...parts, ...added, ...issuer, "-keyout", key, "-out", cert]);
  };
  const leaf = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"];
  await make(at("ca-key.pem"), certificates.ca, "/CN=bench CA", ["keyUsage=critical,keyCertSign,cRLSign"]);
  await make(certificates.serverKey, certificates.serverCert, "/CN=localhost", [
    ...leaf,
    "extendedKeyUsage=serverAuth",
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
  ]);
  await make(certificates.agentKey, certificates.agentCert, `/CN=${BENCH_AGENT}`, [
    ...leaf,
    "extendedKeyUsage=clientAuth",
  ]);
  return certificates;
}
