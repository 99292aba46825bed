/**
 * What a person sees who comes with a browser and may not: a page that says so, in the page's languages, whole in itself. It has nothing of the
 * request, no script, and no style, for neither would be let through. Programs get the same as JSON (http.ts).
 */
import type { Refused, WebAnswer, WebRequest } from "./http.ts";

/** Which refusals a person meets before there is a page that could show them. */
export type RefusalPage = "address" | "host";

interface Texts {
  readonly title: string;
  readonly text: string;
  readonly hint: string;
}

const TEXTS: Readonly<Record<RefusalPage, { readonly en: Texts; readonly pt: Texts }>> = {
  address: {
    en: {
      title: "This address may not look",
      text: "This is the page of an nbackup server, which shows it to some addresses only. The one that you come from is not among them.",
      hint: "Whoever runs the server names them in its configuration: <code>web_ui.allow_origins</code>.",
    },
    pt: {
      title: "Este endereço não tem acesso",
      text: "Esta é a página de um servidor nbackup, que só a mostra a alguns endereços. O seu não está entre eles.",
      hint: "Quem administra o servidor os indica na configuração: <code>web_ui.allow_origins</code>.",
    },
  },
  host: {
    en: {
      title: "The server is not known by this name",
      text: "This is the page of an nbackup server, which answers only to names that it knows as its own.",
      hint: "Ask by its address, or have whoever runs it put the name into <code>web_ui.host_names</code>.",
    },
    pt: {
      title: "O servidor não é conhecido por este nome",
      text: "Esta é a página de um servidor nbackup, que só responde pelos nomes que conhece como seus.",
      hint: "Use o endereço dele, ou peça a quem o administra que inclua o nome em <code>web_ui.host_names</code>.",
    },
  },
};

function part(heading: "h1" | "h2", { title, text, hint }: Texts): string {
  return `<${heading}>${title}</${heading}>\n<p>${text}</p>\n<p>${hint}</p>`;
}

function html(page: RefusalPage): string {
  const { en, pt } = TEXTS[page];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${en.title} · nbackup</title>
</head>
<body>
<main>
${part("h1", en)}
<div lang="pt-BR">
${part("h2", pt)}
</div>
</main>
</body>
</html>
`;
}

/** A browser says so when somebody opens an address; a script of a page, curl and Prometheus do not. */
function wantsPage({ header }: WebRequest): boolean {
  return /\btext\/html\b/i.test(header("accept") ?? "");
}

export function refusalAnswer(refused: Refused, request: WebRequest): WebAnswer {
  const answer = refused.toAnswer();
  const headers = { ...answer.headers, vary: "accept" };
  if (refused.page === null) return answer;
  if (!wantsPage(request)) return { ...answer, headers };
  return { ...answer, headers: { ...headers, "content-type": "text/html; charset=utf-8" }, body: html(refused.page) };
}
