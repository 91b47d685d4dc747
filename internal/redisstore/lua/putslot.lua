-- KEYS: meta, state, slot, delta of the slot before. ARGV: incarnation, number, number-1, prev, head (hex), value.
local have = redis.call('HGET', KEYS[3], ARGV[2])
if have then
  if have == ARGV[6] then
    return {'ok'}
  end
  return {'other'}
end
local state = redis.call('HMGET', KEYS[2], 'slot', 'slothead')
local last = state[1] or '0'
local head = state[2] or string.rep('0', 64)
if last ~= ARGV[3] then
  return {'gap', last}
end
if head ~= ARGV[4] then
  return {'prev', last, head}
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[6])
redis.call('HSET', KEYS[2], 'slot', ARGV[2], 'slothead', ARGV[5])
redis.call('UNLINK', KEYS[4])
return {'ok'}
