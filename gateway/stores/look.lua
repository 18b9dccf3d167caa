-- Looks for an answer, and takes the lease to make one where there is none: one round trip for both.
-- KEYS: the answer, the lease, how the last call failed.
-- ARGV: this asker's token, ms to lease for (0: only look), ms of age up to which an answer will do,
--       the token of the call that is waited for (empty: of none).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- pcall: a key of another type holds nothing of ours.
local kept = redis.pcall('HMGET', KEYS[1], 'at', 'value')
local at = not kept.err and tonumber(kept[1])
if at and kept[2] then
  local age = math.max(0, now - at)
  if age <= tonumber(ARGV[3]) then
    return {'kept', tostring(age), kept[2]}
  end
end

if ARGV[4] ~= '' then
  local failed = redis.pcall('HMGET', KEYS[3], 'of', 'problem')
  if not failed.err and failed[1] == ARGV[4] and failed[2] then
    return {'failed', '0', failed[2]}
  end
end

if ARGV[2] == '0' then
  return {'nothing', '0', ''}
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {'lead', '0', ''}
end
local leader = redis.pcall('GET', KEYS[2])
if type(leader) ~= 'string' then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return {'lead', '0', ''}
end
return {'follow', '0', leader}
