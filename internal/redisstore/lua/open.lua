-- KEYS: meta, then every other key of a fresh store. ARGV: may ('1' or '0'), network, genesis, schema, incarnation.
local have = redis.call('HMGET', KEYS[1], 'network', 'genesis', 'schema', 'incarnation')
if have[4] then
  return {'ok', have[1] or '', have[2] or '', have[3] or '', have[4]}
end
if redis.call('EXISTS', unpack(KEYS)) ~= 0 then
  return {'headless'}
end
if ARGV[1] ~= '1' then
  return {'missing'}
end
redis.call('HSET', KEYS[1], 'network', ARGV[2], 'genesis', ARGV[3], 'schema', ARGV[4], 'incarnation', ARGV[5])
return {'ok', ARGV[2], ARGV[3], ARGV[4], ARGV[5]}
