/**
 * The commands of `nbackup-server pki` as completions want them. Their own command line and help are in pki-tools, which this domain does
 * not see: a test compares the two.
 */
import type { OptionSpec, SubcommandSpec } from "./program.ts";

const DIR: OptionSpec = { name: "dir", value: "DIR", what: "Directory of the CA." };
const DAYS: OptionSpec = { name: "days", value: "N", what: "Days from now until it ends." };
const FORCE: OptionSpec = { name: "force", what: "Replace what is there." };
const JSON_OPTION: OptionSpec = { name: "json", what: "Print JSON." };
const MAKE = [DIR, DAYS, FORCE, JSON_OPTION];

export const PKI_SUBCOMMANDS: readonly SubcommandSpec[] = [
  { name: "init", what: "Make the CA.", options: MAKE, positionals: [] },
  {
    name: "server",
    what: "Make the server's certificate.",
    options: MAKE,
    positionals: [{ name: "HOST", what: "Host names and addresses with commas.", required: true }],
  },
  {
    name: "agent",
    what: "Make an agent's certificate.",
    options: MAKE,
    positionals: [{ name: "NAME", what: "agent.name of its configuration.", required: true }],
  },
  {
    name: "enroll-token",
    what: "Let a new machine make its own.",
    options: [
      { name: "replace", what: "Revoke the agent's older certificates when it has the new one." },
      { name: "config", value: "FILE", what: "Configuration of the running server." },
      JSON_OPTION,
    ],
    positionals: [{ name: "AGENT", what: "The agent's name.", required: true }],
  },
  {
    name: "renew",
    what: "Make a new certificate and key for the same names.",
    options: [DIR, DAYS, JSON_OPTION],
    positionals: [{ name: "NAME", what: "An agent, or server, or ca.", required: true }],
  },
  {
    name: "revoke",
    what: "End all certificates made for an agent so far.",
    options: [DIR, { name: "config", value: "FILE", what: "Configuration of the server." }, JSON_OPTION],
    positionals: [{ name: "AGENT", what: "The agent's name.", required: true }],
  },
  {
    name: "show",
    what: "Say what certificates hold.",
    options: [DIR, JSON_OPTION],
    positionals: [{ name: "FILE", what: "PEM files.", required: false, many: true }],
  },
];
