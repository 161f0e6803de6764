/**
 * Reads what the provider takes for parameters: `a=1&metadata[k]=v&expand[]=x&items[0][id]=y`, as form body or query. Brackets with a
 * name make objects, empty ones and numbers make lists.
 */

export interface Params {
  readonly [name: string]: Param
}
export type Param = string | ReadonlyArray<Param> | Params

export const parseForm = (text: string): Params => {
  const root: Branch = new Map()
  if (text === "") return {}
  for (const pair of text.split("&")) {
    if (pair === "") continue
    const equals = pair.indexOf("=")
    const name = decode(equals < 0 ? pair : pair.slice(0, equals))
    const value = equals < 0 ? "" : decode(pair.slice(equals + 1))
    const bracket = name.indexOf("[")
    if (bracket < 0) root.set(name, value)
    else insert(root, [name.slice(0, bracket), ...name.slice(bracket + 1, -1).split("][")], value)
  }
  return toObject(root)
}

/** The text of a parameter; undefined for one which is absent or not text. */
export const textOf = (param: Param | undefined): string | undefined => (typeof param === "string" ? param : undefined)

/** What a parameter names: the entries of an object. Empty for anything else. */
export const recordOf = (param: Param | undefined): Params =>
  param === undefined || typeof param === "string" || isList(param) ? {} : param

/** Of what a parameter names, the entries which are text. */
export const textsOf = (param: Param | undefined): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(recordOf(param)).flatMap(([name, entry]) => (typeof entry === "string" ? [[name, entry]] : []))
  )

/** The texts in a list; empty for anything else. */
export const listOf = (param: Param | undefined): ReadonlyArray<string> =>
  param !== undefined && isList(param) ? param.filter((entry) => typeof entry === "string") : []

type Branch = Map<string, string | Branch>

const decode = (text: string): string => {
  if (!text.includes("%") && !text.includes("+")) return text
  try {
    return decodeURIComponent(text.replaceAll("+", " "))
  } catch {
    return text
  }
}

const insert = (root: Branch, path: ReadonlyArray<string>, value: string): void => {
  let branch = root
  for (const [depth, part] of path.entries()) {
    const name = part === "" ? String(branch.size) : part
    if (depth === path.length - 1) {
      branch.set(name, value)
      return
    }
    const next = branch.get(name)
    if (next instanceof Map) branch = next
    else {
      const made: Branch = new Map()
      branch.set(name, made)
      branch = made
    }
  }
}

const toParam = (node: string | Branch): Param => {
  if (typeof node === "string") return node
  const names = [...node.keys()]
  return names.every((name) => /^\d+$/.test(name)) ? [...node.values()].map(toParam) : toObject(node)
}

const toObject = (branch: Branch): Params =>
  // `fromEntries` defines its properties, so a name such as `__proto__` stays a name.
  Object.fromEntries([...branch].map(([name, node]) => [name, toParam(node)]))

/** Whether a parameter is a list rather than text or an object. */
export const isList = (param: Param): param is ReadonlyArray<Param> => Array.isArray(param)
