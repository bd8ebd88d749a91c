-- Units of a burst (GCRA): emission intervals, end to end. Atomic, by this server's clock.
--
-- `us` and `ns` are the arrival time: microseconds, and nanoseconds beyond; `g:GATEWAY` the last question's number.
local gateway, number = ARGV[1], tonumber(ARGV[2])
local quota, period, burst = tonumber(ARGV[3]), tonumber(ARGV[4]) * 1000, tonumber(ARGV[5])
local debt, need, wish = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local back_us, back_ns, back_units = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local seen_us, seen_ns = tonumber(ARGV[12]), tonumber(ARGV[13])

local function text(x) return string.format('%.0f', x) end
local function span(units) return math.ceil(units * (period / quota)) end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local kept = redis.call('HMGET', KEYS[1], 'us', 'ns', 'g:' .. gateway)
if kept[3] and tonumber(kept[3]) >= number then return {1, now} end
local us, ns = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
if seen_us > us or (seen_us == us and seen_ns > ns) then us, ns = seen_us, seen_ns end
-- Nanoseconds by which it is ahead of now: small enough to be exact.
local ahead = (us - now) * 1000 + ns
-- A clock that was put back far is believed.
if ahead > 2 * (span(burst) + period) then ahead = 0 end
if back_units > 0 and back_us == us and back_ns == ns then ahead = ahead - span(back_units) end
ahead = math.max(0, ahead)
-- What is owed blocks for no longer than that, and is never so much that it looks like a clock that was put back.
ahead = math.max(ahead, math.min(ahead + span(debt), span(burst) + period))
local room = math.max(0, math.floor((span(burst) - ahead) / (period / quota)))
local granted = math.min(need, room)
local spare = math.min(wish, room - granted)
ahead = ahead + span(granted + spare)
local whole = math.floor(ahead / 1000)
us, ns = now + whole, ahead - whole * 1000
redis.call('HSET', KEYS[1], 'us', text(us), 'ns', text(ns), 'g:' .. gateway, text(number))
redis.call('PEXPIRE', KEYS[1], text(math.ceil(ahead / 1000000) + 60000))
return {2, now, granted, spare, room - granted - spare, 0, us, ns}
