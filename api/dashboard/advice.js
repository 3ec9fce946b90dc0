// What to do about a part that is not well, in plain words. The first rule that fits counts; a part's own rules end with
// one that fits whatever it says.
import { h } from './dom.js';

const code = text => h('span', { class: 'mono' }, text);
const RULES = [
  ['shards', /queue is full|queue_bytes_max/, () => ['The store does not keep up with what comes; senders are told to come back, and nothing that was acknowledged is lost. See what the store says; ', code('queue_bytes_max'), ' makes room for longer peaks.']],
  ['shards', /disk|space|room/, () => ['Make room on the disk of the data folder, and logs are taken again by themselves; queries go on meanwhile. ', code('retain_bytes'), ' keeps the store below a size.']],
  ['shards', /./, () => ['A write to the disk failed, and what it may have left is not written over: those shards take logs again after a restart. Look at the kernel\'s messages for the disk first; ', code('logboom fsck'), ' tells whether the folder is whole.']],
  ['queue', /set aside|damaged|torn|missing|gap|lost/, () => ['What was found at the start is kept beside the queue, and everything else is served. ', code('logboom fsck'), ' on the stopped folder tells what is in it; this notice goes with the next start that finds nothing.']],
  ['queue', /./, () => ['The queue is full: senders are told to come back. See what the store says; ', code('queue_bytes_max'), ' makes room for longer peaks.']],
  ['store', /compact/, () => ['Records are stored and found; their files only stay smaller and more than they should be. Mostly the disk is full: make room, and it goes on by itself.']],
  ['store', /./, () => ['Records wait in memory and in the log, and nothing is lost, but logs are refused once memory is full. Look at the disk of the data folder: room, permissions, the kernel\'s messages. It goes on by itself.']],
  ['redis', /denied|authent|password|WRONGPASS|NOPERM|NOAUTH/i, () => ['Logs are taken: they wait in the local log. Correct ', code('REDIS_URL'), ', then restart; ', code('logboom doctor'), ' tries it.']],
  ['redis', /appendfsync|durab|memory only|persist|evict|maxmemory/i, () => ['Logs are taken. What Redis acknowledges can be lost with it: change its configuration as said, or let the local log acknowledge with ', code('redis_require = "fsync"'), '.']],
  ['redis', /./, () => ['Logs are taken: they wait in the local log and go to Redis as soon as it answers. ', code('logboom doctor'), ' on the machine tells what is wrong with it.']],
  ['postgres', /authent|password|permission|\brole\b|denied/i, () => ['Logs are taken and wait in the queue. Correct ', code('DB_URL'), ' or the role\'s rights, then restart; ', code('logboom doctor'), ' tries it.']],
  ['postgres', /./, () => ['Logs are taken and wait in the queue; only ', code('POST /data/'), ' is refused, and queries find what was stored before. It is tried again by itself; ', code('logboom doctor'), ' on the machine tells what is wrong with it.']],
  ['workers', /./, () => ['Logs wait in the queue until a worker takes them: start one with ', code('logboom worker'), '.']],
  ['sidecar', /./, () => ['Logs are taken; queries are not answered until it runs again.']],
];
export function advice(name, part) {
  const rule = RULES.find(([of, text]) => of === name && text.test(part.detail));
  return rule ? rule[2]() : ['On the machine, ', code('logboom doctor'), ' tells what is wrong and how to mend it.'];
}
