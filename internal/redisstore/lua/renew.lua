-- KEYS: meta, lease. ARGV: incarnation, "token holder", milliseconds, or '0' to give it back.
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return {'held'}
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {'ok'}
