-- KEYS: meta, then hashes. ARGV: incarnation, then per hash: the number of fields, and them; 0 for all.
-- A script, for a MULTI is refused even for reading while memory is short.
local answer = {'ok'}
local at = 2
for k = 2, #KEYS do
  local n = tonumber(ARGV[at])
  if n == 0 then
    answer[k] = redis.call('HGETALL', KEYS[k])
  else
    answer[k] = redis.call('HMGET', KEYS[k], unpack(ARGV, at + 1, at + n))
  end
  at = at + 1 + n
end
return answer
