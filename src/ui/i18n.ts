/** The page's language and theme: by the browser or the system until somebody chooses. Texts are in texts-en.ts and texts-pt.ts. */
import { computed, effect, signal } from "@preact/signals";
import { remember } from "./browser.ts";
import { first } from "./first.ts";
import { type Language, makeFormat } from "./format.ts";
import { EN, type PluralKey, type TextKey } from "./texts-en.ts";
import { PT } from "./texts-pt.ts";
import { fill } from "./texts-fill.ts";

const TEXTS = { en: EN, pt: PT };

/** Of the languages that a browser asks for, the first that the page has. */
function browserLanguage(): Language {
  const first = navigator.languages.find((name) => /^(en|pt)\b/i.test(name));
  return first !== undefined && /^pt\b/i.test(first) ? "pt" : "en";
}

function rememberedLanguage(): Language {
  const kept = first?.chosen.language;
  return kept === "en" || kept === "pt" ? kept : browserLanguage();
}

export const language = signal<Language>(rememberedLanguage());

/** Decides how a time in full looks: the browser's own variety of the language, if it has one. */
const locale = computed(() => {
  const base = language.value;
  const own = navigator.languages.find((name) => name.toLowerCase().startsWith(`${base}-`));
  return own ?? (base === "pt" ? "pt-BR" : "en-GB");
});

export const format = computed(() => makeFormat(language.value, locale.value));

export function t(key: TextKey, values?: Readonly<Record<string, string | number>>): string {
  return fill(TEXTS[language.value][key], values);
}

/** Of what is counted in whole numbers: in Portuguese nothing is one thing too. */
function isOne(count: number): boolean {
  return count === 1 || (count === 0 && language.value === "pt");
}

/** `1 late`, `2 late`: the text for a number, which it may have as `{n}`. */
export function tn(key: PluralKey, count: number, values?: Readonly<Record<string, string>>): string {
  const form = isOne(count) ? "one" : "other";
  return fill(TEXTS[language.value][`${key}.${form}`], { n: format.value.count(count), ...values });
}

/** A word of the server's for which the page has its own text, and the word itself where it has none. */
export function word(group: "phase" | "outcome" | "activity" | "scaler", name: string): string {
  const texts: Readonly<Record<string, string>> = TEXTS[language.value];
  return texts[`${group}.${name}`] ?? name;
}

export function chooseLanguage(next: Language): void {
  remember("language", next);
  language.value = next;
}

export type Theme = "system" | "light" | "dark";

function rememberedTheme(): Theme {
  const kept = first?.chosen.theme;
  return kept === "light" || kept === "dark" ? kept : "system";
}

export const theme = signal<Theme>(rememberedTheme());

const systemDark = signal(false);

/** What is shown in the end: charts, which CSS does not reach, are drawn again when it changes. */
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));

export function chooseTheme(next: Theme): void {
  remember("theme", next === "system" ? null : next);
  theme.value = next;
}

/** Before anything is drawn with them: charts read their colours from the style sheet. */
export function followSystem(): void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  systemDark.value = query.matches;
  query.addEventListener("change", (event) => {
    systemDark.value = event.matches;
  });
  effect(() => {
    document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
    document.documentElement.lang = language.value === "pt" ? "pt-BR" : "en";
  });
}
