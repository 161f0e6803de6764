/**
 * The part of the provider's search language that is of use here: clauses over `status`, `currency`, `customer`, `amount`, `created` and
 * `metadata['name']`, joined by AND or by OR. Source: the provider's manual on search.
 */
import type { Intent } from "./IntentRules.ts"

/** Tells the intents which a query is about; undefined for one that cannot be read. */
export const parseSearch = (query: string): ((intent: Intent) => boolean) | undefined => {
  const alternatives = /\bOR\b/.test(query)
  const clauses = query.split(alternatives ? /\s+OR\s+/ : /\s+AND\s+|\s+(?=-?[a-z]+[[:<>])/).map(parseClause)
  if (clauses.some((clause) => clause === undefined)) return undefined
  const tests = clauses.filter((clause) => clause !== undefined)
  return (intent) => (alternatives ? tests.some((test) => test(intent)) : tests.every((test) => test(intent)))
}

const clausePattern =
  /^(?<not>-)?(?<field>status|currency|customer|amount|created|metadata\[(?<quote>['"])(?<name>[^'"]+)\k<quote>\])(?<comparison>:|>=|<=|>|<)(?:['"](?<text>[^'"]*)['"]|(?<number>\d+)|(?<nothing>null))$/

const parseClause = (text: string): ((intent: Intent) => boolean) | undefined => {
  const parts = clausePattern.exec(text.trim())?.groups
  if (parts === undefined) return undefined
  const { not, field = "", name, comparison, text: quoted, number, nothing } = parts
  const wanted = quoted ?? number ?? ""
  const test = (intent: Intent): boolean => {
    const value = valueOf(intent, field, name)
    if (nothing !== undefined) return value === null
    if (value === null) return false
    if (comparison === ":") return String(value) === wanted
    const [left, right] = [Number(value), Number(wanted)]
    if (comparison === ">") return left > right
    if (comparison === ">=") return left >= right
    return comparison === "<" ? left < right : left <= right
  }
  return not === undefined ? test : (intent) => !test(intent)
}

const valueOf = ({ terms, status }: Intent, field: string, name: string | undefined): string | number | null => {
  if (name !== undefined) return terms.metadata[name] ?? null
  switch (field) {
    case "status":
      return status
    case "currency":
      return terms.currency
    case "customer":
      return terms.customer
    case "amount":
      return terms.amount
    default:
      return Math.floor(terms.createdAt / 1000)
  }
}
