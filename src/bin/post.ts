/** Posts a short text over HTTP. Proxies are those of the environment (HTTPS_PROXY …), as every program has them. */
import type { Post } from "#agent/notify.ts";

export const httpPost: Post = async ({ url, body, signal }) => {
  const response = await fetch(url, {
    method: "POST",
    body,
    signal,
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
  // What they answer does not matter, however much it is.
  await response.body?.cancel();
  return response.status;
};
