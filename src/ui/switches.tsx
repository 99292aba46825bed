/** The switches for language and theme: in the head of every view, and on the login form. */
import { chooseLanguage, chooseTheme, language, t, type Theme, theme } from "./i18n.ts";
import { Icon, type IconName } from "./icons.tsx";

const THEMES: readonly { readonly theme: Theme; readonly icon: IconName }[] = [
  { theme: "system", icon: "system" },
  { theme: "light", icon: "sun" },
  { theme: "dark", icon: "moon" },
];

export function Switches() {
  const next = THEMES[(THEMES.findIndex((one) => one.theme === theme.value) + 1) % THEMES.length] ?? {
    theme: "system",
    icon: "system",
  };
  const shown = THEMES.find((one) => one.theme === theme.value);
  const other = language.value === "en" ? "pt" : "en";
  return (
    <div class="switches">
      <button
        type="button"
        lang={other}
        onClick={() => chooseLanguage(other)}
        aria-label={other === "pt" ? "Mudar para português" : "Switch to English"}
      >
        {other.toUpperCase()}
      </button>
      <button
        type="button"
        onClick={() => chooseTheme(next.theme)}
        aria-label={t("theme.now", { now: t(`theme.${theme.value}`), next: t(`theme.${next.theme}`) })}
        title={t(`theme.${theme.value}`)}
      >
        <Icon name={shown?.icon ?? "system"} />
      </button>
    </div>
  );
}
