// The parse page: what lines become, and which rule took them; a regex or grok pattern tried as it is typed.
import { $, h, glyph, shown, copy, num } from './dom.js';
import { ask } from './api.js';
import { table } from './status.js';

const main = $('#p-parse');
const EXAMPLE = ['{"ts":1773717117,"lvl":"error","app":"payments","msg":"order 84713: pool timeout"}', '10.4.2.18 - - [17/Mar/2026:03:11:57 +0000] "POST /api/orders/84713/pay HTTP/1.1" 502 157', '<131>1 2026-03-17T03:11:57.412Z hall-fra-1 fulfil 811 - - order 84713 held', 'ERROR [pool-3] 03:11:57 order 84713 gave up after 5000ms'].join('\n');
// What grok expressions are made of, by name: from the server, which compiles them in the end.
let grok = new Map();
const PATTERN_CHARS_MAX = 2000, LINES_MAX = 200;
let lines, pattern, seen, tried, timer = 0, built = false, asked = 0;

export function toRegex(text) {
  if (text.length > PATTERN_CHARS_MAX) throw new Error(`it is ${text.length} characters long, at most ${PATTERN_CHARS_MAX} are tried`);
  const named = [];
  const expand = (text, depth) => text.replace(/%\{(\w+)(?::([\w.@[\]-]+))?(?::\w+)?\}/g, (whole, name, field) => {
    const known = grok.get(name);
    if (!known || depth > 16) throw new Error(`%{${name}} is not known: known are ${[...grok.keys()].join(', ')}`);
    return (field ? `(?P<${field}>` : '(?:') + expand(known, depth + 1) + ')';
  });
  const source = expand(text, 0).replace(/\(\?P?<([A-Za-z_][\w.@[\]-]*)>/g, (whole, name) => { named.push(name.replace(/__(int|float|bool)$/, '')); return `(?<g${named.length - 1}>`; });
  return [new RegExp(source, 'd'), named];
}
function metadataText(metadata) {
  const entries = Object.entries(metadata || {}).map(([k, v]) => `${k} ${typeof v === 'string' ? v : JSON.stringify(v)}`);
  return entries.length ? entries.join(', ') : 'none';
}
async function parse() {
  const mine = ++asked, text = lines.value.split('\n').filter(line => line.trim()).slice(0, LINES_MAX);
  tryPattern();
  if (!text.length) { seen.replaceChildren(h('p', { class: 'lead' }, 'No lines yet.')); return; }
  try {
    const response = await fetch('/parse/auto', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ raw_logs: text }) }), answer = await response.json();
    if (mine !== asked) return;
    if (answer.error) throw new Error(answer.error.message);
    const regex = compiled(), cell = (t, cls) => h('span', { class: cls ?? 'mono' }, shown(String(t ?? '').slice(0, 300)));
    seen.replaceChildren(table('What it sees', ['#Line', 'Format', 'Level', 'Time', 'Source', 'Application', 'Message', '~Metadata'], answer.results.map((r, i) => {
      if (r.error) return [String(i + 1), h('b', {}, 'not taken'), '', '', '', '', cell(r.error.message, null), ''];
      const yours = regex && regex[0].test(text[i]);
      return [String(i + 1), [cell(r.format), yours ? h('span', { class: 'sub' }, ' your pattern too') : ''], h('span', { class: 'lvl ' + r.level }, glyph(r.level), ' ' + r.level), cell(r.timestamp.replace('T', ' ').replace(/\.?0*Z$/, '')), cell(r.source), cell(r.application), cell(r.message), cell(metadataText(r.metadata))];
    })));
  } catch (error) { if (mine === asked) seen.replaceChildren(h('p', { class: 'lead' }, `It could not be parsed: ${error.message}.`)); }
}
function compiled() { try { return pattern.value.trim() ? toRegex(pattern.value) : null; } catch { return null; } }
function tryPattern() {
  if (!pattern.value.trim()) { tried.replaceChildren(h('p', { class: 'lead' }, 'Named groups become fields: ', h('code', { class: 'mono' }, '(?P<level>\\w+)'), ' or ', h('code', { class: 'mono' }, '%{LOGLEVEL:level}'), '.')); return; }
  let regex, named;
  try { [regex, named] = toRegex(pattern.value); }
  catch (error) { tried.replaceChildren(h('p', { class: 'bad' }, error.message)); return; }
  const all = lines.value.split('\n').filter(line => line.trim()).slice(0, LINES_MAX), found = all.map(line => [line, regex.exec(line.slice(0, 4000))]).filter(m => m[1]);
  if (!found.length) { tried.replaceChildren(h('p', { class: 'lead' }, `Takes none of ${num(all.length)} lines.`)); return; }
  const [line, match] = found[0], cuts = named.map((_, i) => match.indices.groups['g' + i]).filter(Boolean).sort((a, b) => a[0] - b[0]), parts = [];
  let at = 0;
  for (const [start, end] of cuts) if (start >= at) { parts.push(...shown(line.slice(at, start)), h('span', { class: 'u' }, shown(line.slice(start, end)))); at = end; }
  parts.push(...shown(line.slice(at)));
  const toml = `[[patterns]]\nname = "mine"\nregex = '''${pattern.value}'''\n`;
  tried.replaceChildren(h('p', { class: 'mono line-of' }, parts), h('p', { class: 'lead' }, `Takes ${num(found.length)} of ${num(all.length)} lines. ${named.length ? `${named.length === 1 ? 'One field' : named.length + ' fields'}: ${named.join(', ')}. ` : 'No named group, so no field. '}`, h('button', { class: 'link', type: 'button', on: { click: () => copy(toml, 'Copied as TOML') } }, 'Copy as TOML')),
    table('Fields of the pattern', ['Field', 'Value in the first line'], named.map((name, i) => [name, h('span', { class: 'mono' }, shown(match.groups['g' + i] ?? ''))])));
}
export async function paint() {
  if (built) return parse();
  built = true;
  lines = h('textarea', { spellcheck: 'false', wrap: 'off' });
  lines.value = EXAMPLE;
  pattern = h('input', { class: 'inp', spellcheck: 'false', maxlength: PATTERN_CHARS_MAX });
  pattern.value = '(?P<level>\\w+) \\[(?P<thread>[^\\]]+)\\] (?P<timestamp>\\S+) (?P<message>.+) after (?P<wait>\\d+)ms';
  seen = h('div', { 'aria-live': 'polite' });
  tried = h('div', { 'aria-live': 'polite' });
  const known = h('div');
  lines.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(parse, 200); });
  pattern.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(parse, 200); tryPattern(); });
  main.replaceChildren(h('h1', {}, 'Parse'), h('p', { class: 'lead' }, 'Paste lines to see what Logboom makes of them. Nothing is stored.'), h('div', { class: 'tryout' }, h('label', {}, 'Lines', lines)), h('h2', {}, 'What it sees'), seen,
    h('h2', {}, 'Try a pattern'), h('div', { class: 'tryout' }, h('label', {}, 'Regex or grok, named groups become fields', pattern), tried), h('h2', {}, 'What it knows'), known);
  parse();
  try {
    const [{ formats }, { patterns, grok: base }] = await Promise.all([ask('/parse/formats'), ask('/parse/patterns')]);
    grok = new Map(base.map(g => [g.name, g.expression]));
    tryPattern();
    known.replaceChildren(table('Formats', ['Format', 'What', '~A line of it'], formats.map(f => [h('span', { class: 'mono' }, f.name), f.title, h('span', { class: 'mono' }, shown(f.example.slice(0, 160)))])),
      h('h2', {}, 'Patterns, for lines that are held to one'), table('Patterns', ['Pattern', 'What', '~A line of it'], patterns.map(f => [h('span', { class: 'mono' }, f.name), f.title, h('span', { class: 'mono' }, shown(f.example.slice(0, 160)))])));
  } catch (error) { known.replaceChildren(h('p', { class: 'lead' }, error.message)); }
}
