/** The page's few pictures, drawn in a box of 16: for the eye only, a word always stands beside them. */

const SHAPES = {
  ok: "M3.5 8.5l3 3 6-7",
  busy: "M8 3v5l3 2M8 1.8a6.2 6.2 0 1 1 0 12.4 6.2 6.2 0 0 1 0-12.4",
  warn: "M8 2.2L14.6 13.6H1.4ZM8 6.4v3.2M8 11.6v.2",
  bad: "M8 1.8a6.2 6.2 0 1 1 0 12.4 6.2 6.2 0 0 1 0-12.4M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4",
  none: "M4.5 8h7",
  dot: "M8 7.2a.8.8 0 1 1 0 1.6.8.8 0 0 1 0-1.6",
  empty: "M2 5.5l6-3 6 3v6l-6 3-6-3ZM2 5.5l6 3 6-3M8 8.5v6",
  sun: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M13 3l-1.2 1.2M4.2 11.8L3 13",
  moon: "M13.5 9.8A6 6 0 1 1 6.2 2.5a5 5 0 0 0 7.3 7.3Z",
  system: "M2 3h12v8H2ZM5.5 14h5M8 11v3",
  folder: "M1.8 12.8V3.6h4.4l1.6 1.8h6.4v7.4Z",
  file: "M3.8 1.8h5.4l3 3v9.4H3.8ZM9 2v3h3",
  link: "M6.5 9.5l3-3M7 4.8l1.6-1.6a3 3 0 0 1 4.2 4.2L11.2 9M9 11.2l-1.6 1.6a3 3 0 0 1-4.2-4.2L4.8 7",
  special: "M8 2l6 6-6 6-6-6Z",
  download: "M8 2v8M4.8 7l3.2 3.2L11.2 7M2.5 13.5h11",
  search: "M7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6M10.6 10.6L14 14",
  next: "M6 3.5L10.5 8 6 12.5",
  up: "M8 13V3.5M4 7.5l4-4 4 4",
  down: "M8 3v9.5M4 8.5l4 4 4-4",
  out: "M6 2.5H2.5v11H6M10 5l3 3-3 3M13 8H6",
} as const;

export type IconName = keyof typeof SHAPES;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 16 16" aria-hidden="true">
      <path d={SHAPES[name]} />
    </svg>
  );
}
