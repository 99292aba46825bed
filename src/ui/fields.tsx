/** Filters of the lists. What is chosen stands in the URL, so that a filtered list can be kept and sent. */
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { query, setQuery } from "./router.ts";

/** After the last key: a list is not asked for at every letter. */
const TYPED_MS = 250;

/** `options`: what people may mean; where only whole names are found, they complete them. */
export function Search({ name, label, options = [] }: { name: string; label: string; options?: readonly string[] }) {
  const inUrl = query.value[name] ?? "";
  const [text, setText] = useState(inUrl);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const sent = useRef(inUrl);
  useEffect(() => {
    // Somebody else changed it: the back button, a link.
    if (inUrl !== sent.current) setText(inUrl);
    sent.current = inUrl;
  }, [inUrl]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const onInput = (event: { readonly currentTarget: HTMLInputElement }): void => {
    const { value } = event.currentTarget;
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current = value.trim();
      setQuery({ [name]: value.trim() });
    }, TYPED_MS);
  };
  return (
    <label class="search">
      <span class="hidden">{label}</span>
      <Icon name="search" />
      <input
        type="search"
        value={text}
        placeholder={label}
        onInput={onInput}
        autoComplete="off"
        spellcheck={false}
        list={options.length === 0 ? undefined : `${name}-options`}
      />
      {options.length === 0 ? null : (
        <datalist id={`${name}-options`}>
          {options.map((option) => (
            <option key={option} value={option} />
          ))}
        </datalist>
      )}
    </label>
  );
}

/** Filters that came with a link and that no field shows: each can be taken away. */
export function MoreFilters({ names }: { names: readonly { readonly name: string; readonly label: string }[] }) {
  const set = names.filter(({ name }) => query.value[name] !== undefined);
  return (
    <>
      {set.map(({ name, label }) => {
        const text = `${label}: ${query.value[name] ?? ""}`;
        return (
          <button
            key={name}
            type="button"
            class="chip set"
            aria-label={t("filter.remove", { filter: text })}
            title={text}
            onClick={() => setQuery({ [name]: null })}
          >
            <span>{text}</span> ×
          </button>
        );
      })}
    </>
  );
}

export interface Choice {
  readonly value: string;
  readonly label: string;
}

/** The first choice is the one that filters nothing: its value is empty. */
export function Select({ name, label, choices }: { name: string; label: string; choices: readonly Choice[] }) {
  const chosen = query.value[name] ?? "";
  const unlisted = choices.every((choice) => choice.value !== chosen);
  return (
    <label class="select">
      <span class="hidden">{label}</span>
      <select value={chosen} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
        {unlisted ? <option value={chosen}>{chosen}</option> : null}
        {choices.map((choice) => (
          <option key={choice.value} value={choice.value}>
            {choice.label}
          </option>
        ))}
      </select>
    </label>
  );
}
