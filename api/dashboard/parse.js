// The parse page: what lines become, and which rule took them; a regex or grok pattern tried as it is typed. The server
// reads both: what is shown here is what would be stored.
import { $, h, glyph, shown, copy, num } from './dom.js';
import { ask, newest, aborted } from './api.js';
import { table } from './status.js';

const main = $('#p-parse');
const EXAMPLE = ['{"ts":1773717117,"lvl":"error","app":"payments","msg":"order 84713: pool timeout"}', '10.4.2.18 - - [17/Mar/2026:03:11:57 +0000] "POST /api/orders/84713/pay HTTP/1.1" 502 157', '<131>1 2026-03-17T03:11:57.412Z hall-fra-1 fulfil 811 - - order 84713 held', 'ERROR [pool-3] 03:11:57 order 84713 gave up after 5000ms'].join('\n');
const EXAMPLE_PATTERN = '(?P<level>\\w+) \\[(?P<thread>[^\\]]+)\\] (?P<timestamp>\\S+) (?P<message>.+) after (?P<wait__int>\\d+)ms';
const LINES_MAX = 200, WAIT_MS = 200, CELL_CHARS_MAX = 300;
const signal = newest();
let lines, pattern, shape, seen, tried, timer = 0, built = false, titles = new Map();

const mono = (text, cls = 'mono') => h('span', { class: cls }, shown(String(text ?? '').slice(0, CELL_CHARS_MAX)));
const valueText = value => (typeof value === 'string' ? value : JSON.stringify(value));
function metadataText(metadata) {
  const entries = Object.entries(metadata || {}).map(([k, v]) => `${k} ${valueText(v)}`);
  return entries.length ? entries.join(', ') : 'none';
}
// What the server makes of lines; of a broken pattern its words, and where.
async function send(raw_logs, more, signal) {
  const response = await fetch('/parse/auto', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ raw_logs, ...more }), signal });
  const answer = await response.json();
  if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error);
  return answer.results;
}
async function parse() {
  const mine = signal(), text = lines.value.split('\n').filter(line => line.trim()), some = text.slice(0, LINES_MAX), expression = pattern.value.trim();
  if (!some.length) { seen.replaceChildren(h('p', { class: 'lead' }, 'No lines yet.')); tried.replaceChildren(hint()); return; }
  const more = { pattern: pattern.value, ...(shape.value.trim() && { time_format: shape.value.trim() }) };
  let broken = null;
  try {
    const [found, fitting] = await Promise.all([send(some, {}, mine), expression ? send(some, more, mine).catch(error => { if (aborted(error)) throw error; broken = error; return []; }) : []]);
    const taken = fitting.map(result => !result.error), first = taken.indexOf(true);
    seen.replaceChildren(table('What it sees', ['#Line', 'Rule', 'Level', 'Time', 'Source', 'Application', 'Message', '~Metadata'], found.map((auto, i) => row(auto, taken[i] ? fitting[i] : null, i))),
      text.length > some.length ? h('p', { class: 'lead' }, `The first ${num(LINES_MAX)} of ${num(text.length)} lines.`) : '');
    if (!expression) tried.replaceChildren(hint());
    else if (broken) tried.replaceChildren(...wrong(broken));
    else tried.replaceChildren(...outcome(taken, fitting[first], some[first]));
    pattern.setAttribute('aria-invalid', String(Boolean(broken)));
  } catch (error) { if (!aborted(error)) seen.replaceChildren(h('p', { class: 'bad' }, `It could not be parsed: ${error.message}.`)); }
}
// A line that only the pattern understands is shown as the pattern reads it.
function row(auto, yours, i) {
  if (auto.error) return [String(i + 1), h('b', {}, 'none'), '', '', '', '', h('span', { class: 'bad' }, auto.error.message), ''];
  const r = yours && auto.format === 'plain' ? yours : auto;
  const rule = r === yours ? h('b', { class: 'mono nw' }, 'your pattern') : [h('span', { class: 'mono', title: titles.get(r.format) }, r.format), yours ? h('span', { class: 'sub' }, ' and your pattern') : ''];
  return [String(i + 1), rule, h('span', { class: 'lvl ' + r.level }, glyph(r.level), ' ' + r.level), mono(r.timestamp.replace('T', ' ').replace(/\.?0*Z$/, ''), 'mono nw'), mono(r.source, 'mono nw'), mono(r.application, 'mono nw'), mono(r.message), mono(metadataText(r.metadata))];
}
const hint = () => h('p', { class: 'lead' }, 'Named groups become fields: ', h('code', { class: 'mono' }, '(?P<level>\\w+)'), ' or ', h('code', { class: 'mono' }, '%{LOGLEVEL:level}'), '.');
// The expression with a wave under where it is wrong.
function wrong(error) {
  const at = error.code === 'malformed_pattern' && error.column ? error.column - 1 : null, chars = [...pattern.value];
  return [at == null ? '' : h('p', { class: 'mono line-of' }, shown(chars.slice(0, at).join('')), h('span', { class: 'wave' }, shown(chars.slice(at, at + 1).join('') || ' ')), shown(chars.slice(at + 1).join(''))),
    h('p', { class: 'bad' }, error.message + (at == null ? '' : `, at character ${at + 1}`))];
}
function outcome(taken, first, line) {
  const all = taken.length, count = taken.filter(Boolean).length;
  if (!count) return [h('p', { class: 'lead' }, `Takes none of ${num(all)} lines. It may match in the midst of a line: begin it with ^ to hold it to the beginning.`)];
  const fields = [['level', first.level], ['timestamp', first.timestamp], ['source', first.source], ['application', first.application], ['message', first.message], ...Object.entries(first.metadata).map(([k, v]) => ['metadata.' + k, v])].filter(([, v]) => v !== '');
  return [h('p', { class: 'lead' }, `Takes ${num(count)} of ${num(all)} lines. `, 'Put it into logboom.toml to keep it. ', h('button', { class: 'link', type: 'button', on: { click: () => copy(toml(), 'Copied as TOML') } }, 'Copy as TOML')),
    h('p', { class: 'mono line-of' }, marked(line.slice(0, 1000), first)),
    table('What the pattern makes of the first line that it takes', ['Field', 'Value', '~Kind'], fields.map(([name, value]) => [mono(name), mono(valueText(value)), { number: 'a number', boolean: 'true or false', object: 'an object' }[typeof value] ?? 'text']))];
}
// The line with a stroke under what became a field, as far as its text stands in the line.
function marked(line, record) {
  const found = [record.message, record.level, record.source, record.application, ...Object.values(record.metadata).map(valueText)].filter(text => text && text !== line)
    .map(text => [line.toUpperCase().indexOf(text.toUpperCase()), text.length]).filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0]), out = [];
  let at = 0;
  for (const [start, length] of found) if (start >= at) { out.push(...shown(line.slice(at, start)), h('span', { class: 'u' }, shown(line.slice(start, start + length)))); at = start + length; }
  return [...out, ...shown(line.slice(at))];
}
function toml() {
  const quote = text => (/['\n]/.test(text) ? JSON.stringify(text) : `'${text}'`);
  return shape.value.trim() ? `[patterns.mine]\nexpression = ${quote(pattern.value)}\ntime_format = ${quote(shape.value.trim())}\n` : `[patterns]\nmine = ${quote(pattern.value)}\n`;
}
const soon = () => { clearTimeout(timer); timer = setTimeout(parse, WAIT_MS); };

export async function paint() {
  if (built) return parse();
  built = true;
  lines = h('textarea', { spellcheck: 'false', wrap: 'off', on: { input: soon } });
  lines.value = EXAMPLE;
  pattern = h('input', { class: 'inp', spellcheck: 'false', autocomplete: 'off', maxlength: 8192, on: { input: soon } });
  pattern.value = EXAMPLE_PATTERN;
  shape = h('input', { class: 'inp', spellcheck: 'false', autocomplete: 'off', maxlength: 200, placeholder: '%d.%m.%Y %H:%M:%S', on: { input: soon } });
  seen = h('div', { 'aria-live': 'polite' });
  tried = h('div', { 'aria-live': 'polite' });
  const known = h('div');
  main.replaceChildren(h('h1', {}, 'Parse'), h('p', { class: 'lead' }, 'Paste lines to see what Logboom makes of them. Nothing is stored.'), h('div', { class: 'tryout' }, h('label', {}, 'Lines', lines)), h('h2', {}, 'What it sees'), seen,
    h('h2', {}, 'Try a pattern'), h('div', { class: 'tryout' }, h('div', { class: 'wide-narrow' }, h('label', {}, 'Regex or grok, named groups become fields', pattern), h('label', {}, 'The shape of its times, if unusual', shape)), tried), h('h2', {}, 'What it knows'), known);
  parse();
  try {
    const [{ formats }, { patterns, grok }] = await Promise.all([ask('/parse/formats'), ask('/parse/patterns')]);
    titles = new Map([...formats, ...patterns].map(f => [f.name, f.title]));
    const listed = all => all.map(f => [mono(f.name), f.title, mono(f.example.slice(0, 160))]);
    known.replaceChildren(table('Formats', ['Format', 'What', '~A line of it'], listed(formats)),
      h('h2', {}, 'Patterns, for lines that are held to one'), table('Patterns', ['Pattern', 'What', '~A line of it'], listed(patterns)),
      h('h2', {}, 'What grok expressions are made of'), h('p', { class: 'mono lead' }, grok.map(g => `%{${g.name}}`).join(' ')));
  } catch (error) { known.replaceChildren(h('p', { class: 'lead' }, error.message)); }
}
