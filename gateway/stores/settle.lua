-- Ends a call: keeps its answer or, for a moment, how it failed, and gives the lease back where it is still held.
-- KEYS: the answer, the lease, how the last call failed.
-- ARGV: this asker's token, 'kept', 'failed' or 'left', what is kept, ms to keep it for.
local time = redis.call('TIME')

-- What is there is deleted only where it is none of ours: a full server refuses a script's first write, if it needs room,
-- and none after that. An answer must not be kept where nobody's limits can be counted, and its look fails with them.
local function keep(key, ...)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then
    redis.call('DEL', key)
  end
  redis.call('HSET', key, ...)
  redis.call('PEXPIRE', key, ARGV[4])
end

if ARGV[2] == 'kept' then
  keep(KEYS[1], 'at', time[1] * 1000 + math.floor(time[2] / 1000), 'value', ARGV[3])
elseif ARGV[2] == 'failed' then
  keep(KEYS[3], 'of', ARGV[1], 'problem', ARGV[3])
end
if redis.pcall('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 1
