/** The page on which a customer proves who they are, played by two buttons. */
import type { Intent } from "./IntentRules.ts"

/** Asks for the outcome. Its forms post `outcome=complete` or `outcome=fail` to the page's own address. */
export const question = ({ terms }: Intent): string =>
  page(
    "Is this you?",
    `<p>The shop asks for ${terms.amount} minor units of ${terms.currency.toUpperCase()}.</p>
    <form method="post"><button name="outcome" value="complete">Complete</button>
    <button name="outcome" value="fail">Fail</button></form>`
  )

export const result = (accepted: boolean, passed: boolean): string =>
  page(
    accepted ? (passed ? "Thank you" : "Authentication failed") : "Nothing to do",
    `<p>${accepted ? "You may close this page." : "This payment asks for nothing, or not any more."}</p>`
  )

const page = (title: string, body: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
  <style>body{font:16px system-ui;max-width:28rem;margin:4rem auto;padding:0 1rem}button{font:inherit;padding:.5rem 1rem}</style>
  <h1>${title}</h1>${body}</html>`
