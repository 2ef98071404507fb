// Turns a value of JSON into how a language writes it: on one line where it is short, else a member a line.

const inJson = { open: "{", close: "}", first: "[", last: "]", member: (name) => `${JSON.stringify(name)}: ` };
const IN_PYTHON = new Map([[true, "True"], [false, "False"], [null, "None"]]);

// What would not be a name in C#, so that an anonymous type cannot have it.
const RESERVED = new Set(
  ("abstract as base bool break byte case catch char checked class const continue decimal default delegate do double else " +
    "enum event explicit extern false finally fixed float for foreach goto if implicit in int interface internal is lock " +
    "long namespace new null object operator out override params private protected public readonly ref return sbyte sealed " +
    "short sizeof stackalloc static string struct switch this throw true try typeof uint ulong unchecked unsafe ushort using " +
    "virtual void volatile while").split(" "),
);
const isName = (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text) && !RESERVED.has(text);
const anonymous = { open: "new { ", close: " }", first: "new object[] { ", last: " }", member: (name) => `${name} = ` };
const dictionary = { ...anonymous, open: "new Dictionary<string, object> { ", member: (name) => `[${JSON.stringify(name)}] = ` };

/** The styles: how values are enclosed, how one that is neither object nor array is written, how far members stand in. */
export const JSON_STYLE = { shape: () => inJson, atom: (value) => JSON.stringify(value), step: "  " };
export const PYTHON = { shape: () => inJson, atom: (value) => IN_PYTHON.get(value) ?? JSON.stringify(value), step: "    " };
export const CSHARP = {
  shape: (value) => (Object.keys(value).every(isName) ? anonymous : dictionary),
  atom: (value) => (value === null ? "(object)null" : Number.isInteger(value) && !Number.isSafeInteger(value) ? `${value}d` : JSON.stringify(value)),
  step: "    ",
};

/** value: of JSON. style: one of the above. indent: of the line that it begins in. width: of a line, about. */
export function literal(value, style, indent = "", width = 100) {
  if (value === null || typeof value !== "object") return style.atom(value);
  const shape = style.shape(value);
  const isList = Array.isArray(value);
  const [open, close] = isList ? [shape.first, shape.last] : [shape.open, shape.close];
  const inner = indent + style.step;
  const parts = isList
    ? value.map((one) => literal(one, style, inner, width))
    : Object.entries(value).map(([name, one]) => shape.member(name) + literal(one, style, inner, width));
  const line = open + parts.join(", ") + close;
  if (!parts.length || (indent.length + line.length <= width && !line.includes("\n"))) return line;
  return `${open.trimEnd()}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close.trimStart()}`;
}
