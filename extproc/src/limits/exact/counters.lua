-- What is kept of each counter: the same as the engine keeps (engine/src/limits/counter/), by the server's clock. The three scripts begin
-- with this. Times are microseconds since 1970: below 2^53, so that doubles are exact.
--
-- ARGV[1]: the time, in tests; empty: TIME. Then ten for each key: kind, quota, need, cost, stops, and a to e, which each kind has its own of.
--   f, fixed windows:   a: length
--   c, the calendar's:  a, b, c, d: when three windows in a row begin, and the last of them ends; e: no window is longer
--   s, sliding:         a: period; b: buckets in it
--   b, bursts:          a: between two; b: tolerance; both in parts of a microsecond of which there are c; d: burst; e: period

local now = tonumber(ARGV[1])
local told = now ~= nil
if not told then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- Kept a little longer than it counts: a server that takes over may have another clock.
local SLACK = 5000

local function expire(c, at)
  if told then return end
  redis.call('PEXPIREAT', c.key, string.format('%.0f', math.min(math.ceil(at / 1000) + SLACK, 2 ^ 52)))
end

local function numbers(c, ...)
  local found = redis.call('HMGET', c.key, ...)
  for i = 1, #found do found[i] = tonumber(found[i] or nil) end
  return found
end

local window = {}

-- False: the windows that were given are others.
function window.open(c)
  local kept = numbers(c, 'e', 'u')
  local finish
  if c.kind == 'f' then
    finish = now - math.fmod(now, c.a) + c.a
  else
    local bounds = {c.a, c.b, c.c, c.d}
    for i = 1, 3 do
      if now >= bounds[i] and now < bounds[i + 1] then finish = bounds[i + 1] end
    end
    if not finish then return false end
  end
  local longest = c.kind == 'f' and c.a or c.e
  c.used = 0
  c.finish = finish
  if kept[1] and now < kept[1] then
    c.used = kept[2] or 0
    -- A clock that was put back goes on with the later window; one that was put back far takes what was used along.
    if now + 2 * longest >= kept[1] then c.finish = kept[1] end
  end
  return true
end

function window.wait(c)
  if c.need == 0 or c.used + c.need <= c.quota then return 0 end
  if c.need > c.quota then return -1 end
  return c.finish - now
end

function window.debit(c, cost)
  c.used = math.max(0, c.used + cost)
  redis.call('HSET', c.key, 'e', c.finish, 'u', c.used)
  expire(c, c.finish)
end

function window.usage(c)
  return math.max(0, c.quota - c.used), c.finish - now, c.finish
end

local sliding = {}

local function start(c, bucket)
  local periods = math.floor(bucket / c.b)
  return periods * c.a + math.ceil((bucket - periods * c.b) * c.a / c.b)
end

function sliding.open(c)
  local past = math.fmod(now, c.a)
  local bucket = (now - past) / c.a * c.b + math.floor(past * c.b / c.a)
  local kept = numbers(c, 'n', 't', 'l')
  c.count = c.b + 1
  c.newest = kept[1] or bucket
  c.total = kept[2] or 0
  c.last = kept[3] or bucket
  local passed = bucket - c.newest
  if passed > 0 then
    local places = {}
    for ahead = 1, math.min(passed, c.count) do
      places[ahead] = math.fmod(c.newest + ahead, c.count)
    end
    local old = redis.call('HMGET', c.key, unpack(places))
    for i = 1, #places do c.total = c.total - (tonumber(old[i] or nil) or 0) end
    redis.call('HDEL', c.key, unpack(places))
    c.newest = bucket
    redis.call('HSET', c.key, 'n', c.newest, 't', c.total, 'l', c.last)
    expire(c, start(c, c.newest + c.count))
  elseif -passed > c.count then
    redis.call('DEL', c.key)
    c.newest = bucket
    c.last = bucket
    if c.total > 0 then
      redis.call('HSET', c.key, math.fmod(bucket, c.count), c.total, 'n', bucket, 't', c.total, 'l', bucket)
      expire(c, start(c, bucket + c.count))
    end
  end
  return true
end

function sliding.wait(c)
  if c.need == 0 or c.total + c.need <= c.quota then return 0 end
  if c.need > c.quota then return -1 end
  local total, oldest, places = c.total, c.newest - c.count + 1, {}
  for age = 1, c.count do places[age] = math.fmod(oldest + age - 1, c.count) end
  -- One call: a refusal costs no more than a debit.
  local used = redis.call('HMGET', c.key, unpack(places))
  for age = 1, c.count do
    total = total - (tonumber(used[age] or nil) or 0)
    if total + c.need <= c.quota then return start(c, oldest + age - 1 + c.count) - now end
  end
  return -1
end

-- Into the bucket `at`, or the newest.
function sliding.debit(c, cost, at)
  local bucket = math.min(at or c.newest, c.newest)
  if c.newest - bucket >= c.count then return end
  local place = math.fmod(bucket, c.count)
  local used = tonumber(redis.call('HGET', c.key, place) or nil) or 0
  local change = math.max(cost, -used)
  c.total = c.total + change
  if change > 0 then c.last = math.max(bucket, c.total == change and bucket or c.last) end
  redis.call('HSET', c.key, place, used + change, 'n', c.newest, 't', c.total, 'l', c.last)
  expire(c, start(c, c.newest + c.count))
end

function sliding.usage(c)
  local reset = c.total == 0 and 0 or start(c, c.last + c.count) - now
  return math.max(0, c.quota - c.total), reset, c.newest
end

local burst = {}

-- How far what was let through is ahead of its time, at a time: the numbers stay small, and exact.
function burst.open(c)
  local kept = numbers(c, 't', 'a', 'p')
  c.ahead = 0
  -- Before 0: it was, and since when it is not.
  c.raw = -math.huge
  if kept[1] and kept[2] and kept[3] then
    local passed = now - kept[1]
    if -passed > math.max(c.b / c.c, c.e) + 1000000 then passed = 0 end
    c.raw = math.ceil(kept[2] * c.c / kept[3]) - passed * c.c
    c.ahead = math.max(0, c.raw)
  end
  return true
end

function burst.wait(c)
  if c.need == 0 then return 0 end
  if c.need > c.d then return -1 end
  local early = c.ahead + c.need * c.a - c.b
  return early <= 0 and 0 or math.ceil(early / c.c)
end

-- Ahead by that many parts more.
function burst.debit(c, cost, parts)
  c.ahead = c.ahead + (parts or cost * c.a)
  redis.call('HSET', c.key, 't', now, 'a', c.ahead, 'p', c.c)
  expire(c, now + c.ahead / c.c)
end

function burst.usage(c)
  local left = math.floor(math.max(0, c.b - c.ahead) / c.a)
  return math.min(left, c.d), math.ceil(c.ahead / c.c), c.ahead
end

local KINDS = {f = window, c = window, s = sliding, b = burst}

-- The counter of the i-th key.
local function counter(i)
  local at = 1 + (i - 1) * 10
  local function number(n) return tonumber(ARGV[at + n]) end
  local c = {
    key = KEYS[i], kind = ARGV[at + 1], quota = number(2), need = number(3), cost = number(4), stops = ARGV[at + 5] == '1',
    a = number(6), b = number(7), c = number(8), d = number(9), e = number(10),
  }
  c.does = KINDS[c.kind]
  return c
end
