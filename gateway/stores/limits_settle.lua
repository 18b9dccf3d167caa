-- Corrects what was taken, holds the places in use, and counts the processes that share the limits. After limits.lua.
-- KEYS: the processes, then one for each change, in the order of ARGV.
-- ARGV: this process, seconds for which a lease holds; for each change, one of
--       'rate', seconds between units, units used besides those taken (negative: not used);
--       'budget', the start of the window it was taken in, USD spent besides what was taken (negative: not spent);
--       'leave', a lease that is given back, nothing;
--       'hold', a lease that is held for longer, nothing.
-- Returns how many processes there are.
local process, lease_s = ARGV[1], tonumber(ARGV[2])

local function hold(key, lease)
  if redis.pcall('TYPE', key).ok ~= 'zset' then
    redis.call('DEL', key)
  end
  redis.call('ZADD', key, text(now + lease_s), lease)
  redis.call('PEXPIRE', key, math.ceil(lease_s * 1000))
end

local change = {}

function change.rate(key, interval_s, units)
  local tat = math.max(number(redis.pcall('GET', key)) or now, now) + tonumber(units) * tonumber(interval_s)
  if tat > now then
    redis.call('SET', key, text(tat), 'PX', math.ceil((tat - now) * 1000))
  else
    redis.call('DEL', key)
  end
end

function change.budget(key, since, usd)
  local known = redis.pcall('HMGET', key, 'since', 'usd')
  if not known.err and number(known[1]) == tonumber(since) then
    redis.call('HSET', key, 'usd', text(math.max(0, (number(known[2]) or 0) + tonumber(usd))))
  end
end

function change.leave(key, lease)
  redis.pcall('ZREM', key, lease)
end

function change.hold(key, lease)
  hold(key, lease)
end

for i = 2, #KEYS do
  local at = 3 + (i - 2) * 3
  change[ARGV[at]](KEYS[i], ARGV[at + 1], ARGV[at + 2])
end

hold(KEYS[1], process)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
return redis.call('ZCARD', KEYS[1])
