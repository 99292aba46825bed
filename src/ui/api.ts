/** Asks the server's API and keeps whether a login is needed. What it answers is typed by #web/api-types.ts and believed. */
import { signal } from "@preact/signals";
import type { AccessAnswer, ApiError } from "#web/api-types.ts";
import { boot, setClock } from "./live.ts";

/** Why an answer did not come. `offline`: nothing was heard of the server. */
export interface ApiFailure {
  readonly kind: "offline" | "unauthorized" | "not-found" | "other";
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: ApiFailure };

/** Null: not asked yet. */
export const access = signal<AccessAnswer | null>(null);

const OFFLINE: ApiFailure = { kind: "offline", code: "offline", message: "", hint: null };

function kindOf(status: number): ApiFailure["kind"] {
  if (status === 401) return "unauthorized";
  return status === 404 ? "not-found" : "other";
}

async function failureOf(response: Response): Promise<ApiFailure> {
  const kind = kindOf(response.status);
  try {
    const { error }: ApiError = await response.json();
    return { kind, code: error.code, message: error.message, hint: error.hint };
  } catch (error) {
    // A proxy in between answers with a page of its own.
    if (error instanceof SyntaxError || error instanceof TypeError) {
      return { kind, code: `HTTP ${response.status}`, message: response.statusText, hint: null };
    }
    throw error;
  }
}

/** Until the stream speaks, which is more exact, ages are counted by the clock that every answer has in its head. */
function takeClock({ headers }: Response): void {
  const wallMs = Date.parse(headers.get("date") ?? "");
  if (boot.peek() === null && !Number.isNaN(wallMs)) setClock(wallMs);
}

/** One request. An unauthorized one shows the login form. */
export async function ask<T>(path: string, init?: RequestInit): Promise<Answer<T>> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    return { ok: false, failure: OFFLINE };
  }
  takeClock(response);
  if (response.ok) return await bodyOf<T>(response);
  const failure = await failureOf(response);
  if (failure.kind === "unauthorized" && access.value?.loggedIn === true) {
    access.value = { ...access.value, loggedIn: false };
  }
  return { ok: false, failure };
}

/** As `ask`; undefined once nobody waits for it any more. */
export async function askUnlessOver<T>(url: string, signal: AbortSignal): Promise<Answer<T> | undefined> {
  try {
    return await ask<T>(url, { signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

async function bodyOf<T>(response: Response): Promise<Answer<T>> {
  try {
    const value: T = response.status === 204 ? null : await response.json();
    return { ok: true, value };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return { ok: false, failure: OFFLINE };
    throw error;
  }
}

/** Asks who may do what; returns why that was not told. */
export async function askAccess(): Promise<ApiFailure | undefined> {
  const answer = await ask<AccessAnswer>("/api/v1/access");
  if (answer.ok) access.value = answer.value;
  return answer.ok ? undefined : answer.failure;
}

export type LoginResult = "in" | "wrong" | "too-many" | "offline" | "refused";

export async function logIn(password: string): Promise<LoginResult> {
  const answer = await ask<null>("/api/v1/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ password }),
  });
  if (answer.ok) {
    await askAccess();
    return "in";
  }
  const { kind, code } = answer.failure;
  if (kind === "unauthorized") return "wrong";
  if (kind === "offline") return "offline";
  return code === "too-many" ? "too-many" : "refused";
}

export async function logOut(): Promise<void> {
  await ask<null>("/api/v1/logout", { method: "POST" });
  await askAccess();
}
