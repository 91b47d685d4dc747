-- KEYS: meta, runs, then the run keys the caller knows of; ARGV: incarnation, then their nBits.
-- Returns each run, or the nBits there are where the caller does not know all.
local bits = redis.call('HKEYS', KEYS[2])
local answer = {'ok'}
local known = {}
for i = 2, #ARGV do
  known[ARGV[i]] = true
end
for _, b in ipairs(bits) do
  if not known[b] then
    return {'unknown', bits}
  end
end
for i = 3, #KEYS do
  answer[i - 1] = redis.call('HGETALL', KEYS[i])
end
return answer
