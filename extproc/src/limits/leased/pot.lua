-- Units of one span: a window, or a bucket of a sliding limit. Atomic, by this server's clock; microseconds.
--
-- `s:START` is what was taken in a span; `g:GATEWAY` what a gateway has said: number, when, spare, start, taken, start before, taken before.
-- `t` is the latest time that was seen.
local gateway, number = ARGV[1], tonumber(ARGV[2])
local start, stop, oldest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local quota, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local taken, before, taken_before = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local need, wish, spare = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local trust = tonumber(ARGV[14])

local function text(x) return string.format('%.0f', x) end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local all = redis.call('HGETALL', KEYS[1])
local spans, told, high = {}, nil, 0
local elsewhere, holders = 0, 1
local gone = {}
for i = 1, #all, 2 do
  local kind, name = string.sub(all[i], 1, 1), string.sub(all[i], 3)
  if kind == 's' then
    if tonumber(name) < oldest then gone[#gone + 1] = all[i] else spans[name] = tonumber(all[i + 1]) end
  elseif kind == 'g' then
    local said = {}
    for word in string.gmatch(all[i + 1], '%S+') do said[#said + 1] = tonumber(word) end
    if name == gateway then
      told = said
    elseif said[4] < oldest and said[2] + 60000000 < now then
      gone[#gone + 1] = all[i]
    elseif said[4] == start and said[2] + trust > now then
      elsewhere, holders = elsewhere + said[3], holders + 1
    end
  else
    high = tonumber(all[i + 1])
  end
end
-- A clock that was put back a little stands still; one that was put back far is believed.
local believed = high > now and high - now >= stop - start
if high > now and not believed then now = high end
if now < start or now >= stop then return {0, now} end
if told and told[1] >= number then return {1, now} end
told = told or {0, 0, 0, 0, 0, 0, 0}

if believed then
  -- What was taken in what is yet to come was taken by another clock.
  for name in pairs(spans) do
    if tonumber(name) > start then
      gone[#gone + 1] = 's:' .. name
      spans[name] = nil
    end
  end
end

local function report(span, units)
  if span < oldest or span > start then return end
  local then_ = 0
  if told[4] == span then then_ = told[5] elseif told[6] == span then then_ = told[7] end
  local name = text(span)
  spans[name] = math.max(0, (spans[name] or 0) + units - then_)
end
report(start, taken)
report(before, taken_before)
local used, first = 0, stop
for name, units in pairs(spans) do
  used = used + units
  if units > 0 then first = math.min(first, tonumber(name)) end
end
local left = math.max(0, quota - used)
local granted = math.min(need, left)
left = left - granted
local share = math.ceil(math.max(0, most - elsewhere) / 2)
local more = math.max(0, math.min(math.min(wish, share) - spare, math.floor(left / (2 * holders))))
left = left - more
local mine = text(start)
spans[mine] = (spans[mine] or 0) + granted + more

local set = {'t', text(now)}
set[3] = 'g:' .. gateway
set[4] = table.concat({text(number), text(now), text(spare + more), text(start), text(taken + granted + more), text(before),
  text(taken_before)}, ' ')
for name, units in pairs(spans) do
  set[#set + 1] = 's:' .. name
  set[#set + 1] = text(units)
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
redis.call('HSET', KEYS[1], unpack(set))
redis.call('PEXPIRE', KEYS[1], text(math.ceil((2 * stop - now - oldest) / 1000) + 1000))
return {2, now, granted, more, left, elsewhere, first + stop - oldest}
