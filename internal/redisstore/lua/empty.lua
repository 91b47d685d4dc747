-- KEYS: meta, then every key to delete. ARGV: incarnation. Nobody's is deleted like ours.
local incarnation = redis.call('HGET', KEYS[1], 'incarnation')
if incarnation and incarnation ~= ARGV[1] then
  return {'foreign', incarnation}
end
for i = 1, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return {'ok'}
