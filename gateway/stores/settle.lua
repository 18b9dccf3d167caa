-- Ends a call: keeps its answer or, for a moment, how it failed, and gives the lease back where it is still held.
-- KEYS: the answer, the lease, how the last call failed.
-- ARGV: this asker's token, 'kept', 'failed' or 'left', what is kept, ms to keep it for.
local time = redis.call('TIME')
if ARGV[2] == 'kept' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'at', time[1] * 1000 + math.floor(time[2] / 1000), 'value', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
elseif ARGV[2] == 'failed' then
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'of', ARGV[1], 'problem', ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
if redis.pcall('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 1
