-- Takes all that one request asks for, or nothing, by the server's clock. After limits.lua; admit.lua calls it.
-- KEYS: rates, budgets and places, in the order of ARGV.
-- ARGV: how many rates, how many budgets, the lease, seconds for which it holds;
--       for each rate: seconds between units, units at once, units to take;
--       for each budget: 'day' or 'month', USD in all, USD to take;
--       for each place: how many there are, leases that are about to be given back (separated by spaces).
-- Returns strings: the index of the rule that refuses (0: none) and for how many seconds; for each rate, how many
--       seconds it is ahead; for each budget, the start of its window and what was spent in it.
-- The decisions are gateway/policies/gcra.py's and spend.py's. What others wrote under our keys is not there (pcall).
local ROUNDING_S, ROUNDING_USD, PLACE_AGAIN_S, DAY_S = 0.01, 1e-9, 1, 86400
local rates, budgets = tonumber(ARGV[1]), tonumber(ARGV[2])
local lease, lease_s = ARGV[3], tonumber(ARGV[4])

-- begin calendar
-- Return the days since 1970 of the first of a day's month, and of the next. Source: H. Hinnant,
-- "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
local function month_of(day)
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = math.floor(
    (of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)  -- from March
  local first = math.floor((153 * month + 2) / 5)
  local following = math.floor((153 * (month + 1) + 2) / 5)
  local start = day - (of_year - first)
  if month == 11 then  -- February ends the year
    local y = year + 1
    local leap = (y % 4 == 0 and y % 100 ~= 0) or y % 400 == 0
    return start, start + (leap and 29 or 28)
  end
  return start, start + following - first
end
-- end calendar

local function window_of(period)
  local day = math.floor(now / DAY_S)
  if period == 'day' then
    return day * DAY_S, (day + 1) * DAY_S
  end
  local first, following = month_of(day)
  return first * DAY_S, following * DAY_S
end

local refused, wait_s = 0, 0
local function refuse(index, for_s)
  if for_s > wait_s then
    refused, wait_s = index, for_s
  end
end

local at = 4
local function argument()
  at = at + 1
  return ARGV[at]
end

local tats, next_tats = {}, {}
for i = 1, rates do
  local interval_s, burst, units = tonumber(argument()), tonumber(argument()), tonumber(argument())
  local tat = math.max(number(redis.pcall('GET', KEYS[i])) or now, now)
  local tolerance_s = (burst - 1) * interval_s
  if tat - now > tolerance_s + math.min(ROUNDING_S, interval_s / 2) then
    refuse(i, tat - now - tolerance_s)
  end
  tats[i], next_tats[i] = tat, tat + units * interval_s
end

local starts, spents, totals, ends = {}, {}, {}, {}
for i = rates + 1, rates + budgets do
  local period, limit_usd, usd = argument(), tonumber(argument()), tonumber(argument())
  local start, finish = window_of(period)
  local known = redis.pcall('HMGET', KEYS[i], 'since', 'usd')
  local spent = 0
  if not known.err and number(known[1]) == start then
    spent = number(known[2]) or 0
  end
  if spent >= limit_usd - ROUNDING_USD or spent + usd > limit_usd + ROUNDING_USD then
    refuse(i, finish - now)
  end
  starts[i], ends[i], spents[i], totals[i] = start, finish, spent, spent + usd
end

for i = rates + budgets + 1, #KEYS do
  local count, leaving = tonumber(argument()), argument()
  if type(redis.pcall('ZREMRANGEBYSCORE', KEYS[i], '-inf', text(now))) ~= 'number' then
    redis.call('DEL', KEYS[i])
  end
  for each in string.gmatch(leaving, '%S+') do
    redis.call('ZREM', KEYS[i], each)
  end
  if redis.call('ZCARD', KEYS[i]) >= count then
    refuse(i, PLACE_AGAIN_S)
  end
end

if refused == 0 then
  for i = 1, rates do
    if next_tats[i] > tats[i] then
      redis.call('SET', KEYS[i], text(next_tats[i]), 'PX', math.ceil((next_tats[i] - now) * 1000))  -- then at rest
      tats[i] = next_tats[i]
    end
  end
  for i = rates + 1, rates + budgets do
    if totals[i] > spents[i] then
      redis.call('DEL', KEYS[i])
      redis.call('HSET', KEYS[i], 'since', text(starts[i]), 'usd', text(totals[i]))
      redis.call('EXPIREAT', KEYS[i], math.ceil(ends[i]))
      spents[i] = totals[i]
    end
  end
  for i = rates + budgets + 1, #KEYS do
    redis.call('ZADD', KEYS[i], text(now + lease_s), lease)
    redis.call('PEXPIRE', KEYS[i], math.ceil(lease_s * 1000))
  end
end

local told = {tostring(refused), text(wait_s)}
for i = 1, rates do
  told[#told + 1] = text(tats[i] - now)
end
for i = rates + 1, rates + budgets do
  told[#told + 1] = text(starts[i])
  told[#told + 1] = text(spents[i])
end
return told
