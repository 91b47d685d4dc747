-- Every script begins with this. KEYS[1] is meta, ARGV[1] the incarnation in hex.
local incarnation = redis.call('HGET', KEYS[1], 'incarnation')
if not incarnation then
  return {'missing'}
end
if incarnation ~= ARGV[1] then
  return {'foreign', incarnation}
end
