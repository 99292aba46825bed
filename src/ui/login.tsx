/** The password, where the server wants one. It is sent once and not kept; the cookie that comes back is not for scripts. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type LoginResult, logIn } from "./api.ts";
import { t } from "./i18n.ts";
import { forgetAnswers } from "./resource.ts";
import { startStream, stopStream } from "./stream.ts";
import { Switches } from "./switches.tsx";

export function Login() {
  const [state, setState] = useState<LoginResult | "idle" | "busy">("idle");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Whoever is here may not see what was seen before, and has nothing else to do.
    stopStream();
    forgetAnswers();
    field.current?.focus();
  }, []);
  const onSubmit = async (form: HTMLFormElement): Promise<void> => {
    const password = new FormData(form).get("password");
    setState("busy");
    const result = await logIn(typeof password === "string" ? password : "");
    setState(result);
    if (result === "in") startStream();
    else form.querySelector("input")?.select();
  };
  const failed = state === "wrong" || state === "too-many" || state === "offline" || state === "refused";
  return (
    <main class="login" id="main">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          void onSubmit(event.currentTarget);
        }}
      >
        <h1>nbackup</h1>
        <label for="password">{t("login.password")}</label>
        <input
          id="password"
          name="password"
          type="password"
          ref={field}
          autoComplete="current-password"
          required
          aria-invalid={failed}
          aria-describedby="login-failed"
        />
        <p id="login-failed" role="alert" class="tone-bad">
          {failed ? t(`login.${state}`) : ""}
        </p>
        <button type="submit" class="primary" disabled={state === "busy"}>
          {t("login.go")}
        </button>
        <Switches />
      </form>
    </main>
  );
}
