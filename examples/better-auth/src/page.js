// The web page: a handful of files, read once at start.

import { readFileSync } from "node:fs";

const FILES = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/assets/style.css", "assets/style.css", "text/css; charset=utf-8"],
  ["/assets/icon.svg", "assets/icon.svg", "image/svg+xml"],
  ["/assets/app.js", "assets/app.js", "text/javascript; charset=utf-8"],
  ["/assets/account.js", "assets/account.js", "text/javascript; charset=utf-8"],
  ["/assets/tasks.js", "assets/tasks.js", "text/javascript; charset=utf-8"],
];

/**
 * Every file of the page by its path, and what tells the page where the task API is.
 *
 * @returns {Map<string, { type: string, body: Buffer }>}
 */
export function loadPage({ apiOrigin = "" }) {
  const page = new Map();
  for (const [path, file, type] of FILES) {
    page.set(path, { type, body: readFileSync(new URL(`../public/${file}`, import.meta.url)) });
  }
  page.set("/config.json", { type: "application/json", body: Buffer.from(JSON.stringify({ apiOrigin })) });
  return page;
}

/** Headers of every answer: nothing runs on the page but its own files, and nothing may frame it. */
export function securityHeaders({ apiOrigin = "" }) {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${apiOrigin}`.trim(),
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ];
  return {
    "Content-Security-Policy": policy.join("; "),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
  };
}
