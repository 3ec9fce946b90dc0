// The q language, as far as the page writes and paints it: the server alone decides what a query means.
// Tokens keep their place, so that what is not understood here stays as it was.

export const FIELDS = ['level', 'source', 'application', 'message', 'timestamp', 'id'];
const NAME = /^[\p{L}_@$][\p{L}\p{N}_.\-/@$]*$/u;

// Reads a quoted text at `at`; where it ends, or the end of all when it is open.
function quoteEnd(q, at) {
  for (let i = at + 1; i < q.length; i++) {
    if (q[i] === '\\') i++;
    else if (q[i] === '"') return i + 1;
  }
  return q.length;
}
const unquote = text => (text[0] === '"' ? text.slice(1, text.endsWith('"') && text.length > 1 ? -1 : undefined).replace(/\\(["\\])/g, '$1') : text);

// Every part of a query: { text, at, kind: 'blank' | 'paren' | 'or' | 'term', not, field, values, value }.
export function tokens(q) {
  const out = [];
  let at = 0, depth = 0;
  while (at < q.length) {
    const start = at, blank = /^\s+/.exec(q.slice(at));
    if (blank) { at += blank[0].length; out.push({ kind: 'blank', text: blank[0], at: start, depth }); continue; }
    if (q[at] === '(' || q[at] === ')') { if (q[at] === ')') depth--; out.push({ kind: 'paren', text: q[at], at, depth }); if (q[at] === '(') depth++; at++; continue; }
    let not = false;
    if (q[at] === '-' && at + 1 < q.length && !/[\s\-)]/.test(q[at + 1])) { not = true; at++; }
    if (q[at] === '(') { out.push({ kind: 'paren', text: '-', at: start, depth, not: true }); continue; }
    let field = null, from = at;
    if (q[at] === '"') at = quoteEnd(q, at);
    else while (at < q.length && !/[\s()":]/.test(q[at])) at++;
    const name = unquote(q.slice(from, at));
    if (q[at] === ':' && (q[from] === '"' || NAME.test(name)) && at + 1 < q.length && !/[\s)]/.test(q[at + 1])) {
      field = name;
      at++;
      from = at;
      const valueStart = at;
      if (q[at] === '(') { const end = listEnd(q, at); at = end; }
      else if (q[at] === '"') at = quoteEnd(q, at);
      else while (at < q.length && !/[\s()]/.test(q[at])) at++;
      const value = q.slice(valueStart, at);
      out.push({ kind: 'term', text: q.slice(start, at), at: start, not, field, value, values: value[0] === '(' ? listValues(value) : [unquote(value)], depth });
      continue;
    }
    while (at < q.length && !/[\s()]/.test(q[at])) at = q[at] === '"' ? quoteEnd(q, at) : at + 1;
    const text = q.slice(start, at);
    if (text.toLowerCase() === 'or' && !not) out.push({ kind: 'or', text, at: start, depth });
    else out.push({ kind: 'term', text, at: start, not, field: null, value: unquote(q.slice(from, at)), values: [], depth });
  }
  return out;
}
function listEnd(q, at) {
  for (let i = at + 1; i < q.length; i++) {
    if (q[i] === '"') i = quoteEnd(q, i) - 1;
    else if (q[i] === ')') return i + 1;
  }
  return q.length;
}
function listValues(text) {
  const inner = text.slice(1, text.endsWith(')') ? -1 : undefined);
  return (inner.match(/"(?:[^"\\]|\\.)*"?|[^,\s]+/g) || []).map(unquote);
}

export const quoted = text => '"' + String(text).replace(/[\\"]/g, '\\$&') + '"';
const value = text => (text !== '' && /^[\p{L}\p{N}_./@$][\p{L}\p{N}_.\-/@$+=%#]*$/u.test(text) && text.toLowerCase() !== 'or' ? text : quoted(text));
const fieldName = name => (NAME.test(name) ? name : quoted(name));
const term = (field, values, not) => (not ? '-' : '') + fieldName(field) + ':' + (values.length > 1 ? `(${values.map(value).join(',')})` : value(values[0]));

// Metadata is written without its prefix where no field of that name is in the way.
export const plainField = field => (field.startsWith('metadata.') && !FIELDS.includes(field.slice(9)) && NAME.test(field.slice(9)) ? field.slice(9) : field);
const same = (a, b) => plainField(a) === plainField(b);
const mine = (token, field) => token.kind === 'term' && token.depth === 0 && token.field !== null && same(token.field, field) && !/^[<>*]/.test(token.value);
const join = list => list.map(token => token.text).join('').replace(/\s+/g, ' ').trim();

// Names that are a slip or a beginning of a field's, as [written, meant]: to the server they are metadata keys.
export function likelyFields(q) {
  const near = (name, field) => field !== 'id' && (slips(name, field) <= 2 || (name.length > 2 && field.startsWith(name)));
  const pairs = tokens(q).filter(t => t.kind === 'term' && t.field && !FIELDS.includes(t.field)).map(t => [t.field, FIELDS.find(field => near(t.field.toLowerCase(), field))]);
  return pairs.filter(([, meant]) => meant);
}
function slips(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) { const next = [i]; for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])); row = next; }
  return row[b.length];
}

// Whether a value is asked for ('in'), kept out ('out'), or neither.
export function mode(q, field, val) {
  const want = field === 'level' ? val.toUpperCase() : val;
  for (const token of tokens(q)) if (mine(token, field) && token.values.some(v => (field === 'level' ? v.toUpperCase() : v) === want)) return token.not ? 'out' : 'in';
  return null;
}

// Sets, drops or turns one value of a field; the rest of the query stays.
export function toggle(q, field, val, not) {
  field = plainField(field);
  const list = tokens(q), had = mode(q, field, val), values = { in: [], out: [] };
  const rest = [];
  for (const token of list) {
    if (mine(token, field)) values[token.not ? 'out' : 'in'].push(...token.values);
    else rest.push(token);
  }
  const drop = from => from.filter(v => v !== val && !(field === 'level' && v.toUpperCase() === val.toUpperCase()));
  values.in = drop(values.in);
  values.out = drop(values.out);
  if (had !== (not ? 'out' : 'in')) values[not ? 'out' : 'in'].push(val);
  return add(rest, [values.in.length && term(field, values.in), values.out.length && term(field, values.out, true)]);
}
function add(rest, terms) {
  let text = join(rest);
  terms = terms.filter(Boolean);
  // Standing side by side binds closer than `or`.
  if (terms.length && rest.some(token => token.kind === 'or' && token.depth === 0)) text = `(${text})`;
  return [text, ...terms].filter(Boolean).join(' ');
}
export const without = (q, field) => join(tokens(q).filter(token => !mine(token, field)));
export const withoutTerm = (q, at) => join(tokens(q).filter(token => token.at !== at));
export const filterCount = q => tokens(q).filter(token => token.kind === 'term' && token.field).length;

// What to mark in messages: the words and phrases that must occur.
export function hits(q) {
  const words = tokens(q).filter(token => token.kind === 'term' && !token.field && !token.not && token.value).map(token => token.value);
  if (!words.length) return null;
  words.sort((a, b) => b.length - a.length);
  return new RegExp('(' + words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|') + ')', 'gi');
}

// The term that the cursor is in or behind, for completion.
export function termAt(q, cursor) {
  return tokens(q).find(token => token.kind === 'term' && token.at < cursor && cursor <= token.at + token.text.length) || null;
}
export { term, value as quotedValue };
