/** Who may see the page: its rules from the configuration and the files it names. Logins last over a reload unless the password was changed. */
import type { WebUiConfig } from "#config/types.ts";
import { Access } from "#web/access.ts";
import { attemptKey } from "#web/addresses.ts";
import { Passwords } from "#web/passwords.ts";
import type { EmitEvent } from "#web/read-model.ts";
import type { WebRules } from "#web/web-app.ts";
import { systemClock, systemRandom } from "./system.ts";
import { hostNamesOf, type PageMaterial } from "./web-files.ts";

/** Whoever asks from many addresses has after hundreds of events one told every few seconds: they push nothing else out of what is kept. */
const STRANGERS = "the page";

interface Held {
  readonly hash: string;
  readonly secure: boolean;
  readonly passwords: Passwords;
}

export class WebKeys {
  readonly #emit: EmitEvent;
  #held: Held | undefined;

  constructor(emit: EmitEvent) {
    this.#emit = emit;
  }

  rules(webUi: WebUiConfig, material: PageMaterial): WebRules {
    const passwords = this.#passwords(material);
    const settings = { ...webUi, hostNames: hostNamesOf(webUi, material.tls) };
    const access = new Access(settings, passwords, (address) => this.#refused(address));
    return { access, passwords, allowDownload: webUi.allowDownload };
  }

  #passwords({ passwordHash: hash, tls }: PageMaterial): Passwords | undefined {
    const secure = tls !== undefined;
    if (hash === undefined) this.#held = undefined;
    else if (this.#held?.hash !== hash || this.#held.secure !== secure) {
      this.#held = { hash, secure, passwords: this.#makePasswords(hash, secure) };
    }
    return this.#held?.passwords;
  }

  #makePasswords(hash: string, secure: boolean): Passwords {
    return new Passwords({
      ...{ clock: systemClock, random: systemRandom, secure },
      check: (password) => Bun.password.verify(password, hash),
      onWrong: (address, waitMs) =>
        this.#emit({
          ...{ kind: "page.wrong-password", level: "warn", message: `${address} gave a wrong password for the page` },
          ...{ fields: { address, waitMs }, repeatKey: attemptKey(address), byAgent: STRANGERS },
        }),
    });
  }

  #refused(address: string): void {
    const who = address === "" ? "an unknown address" : address;
    this.#emit({
      ...{ kind: "page.refused", level: "warn", message: `${who} may not look at the page` },
      ...{ fields: { address }, repeatKey: attemptKey(address), byAgent: STRANGERS },
    });
  }
}
