-- Change one key, if it is there or not as the change expects. Returns 1 where it was changed, else 0.
-- KEYS[1]: the hash. ARGV: add | replace | remove, the key's name, its document, the revision's field, a new revision.
local what, name, document, field, revision = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local is_there = redis.call('HEXISTS', KEYS[1], name) == 1
if is_there == (what == 'add') then
  return 0
end
if what == 'remove' then
  redis.call('HDEL', KEYS[1], name)
else
  redis.call('HSET', KEYS[1], name, document)
end
redis.call('HSET', KEYS[1], field, revision)
return 1
