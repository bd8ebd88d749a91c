-- Debits all counters, or none. Answers 0: debited, 1: refused, 2: the calendar's windows are others; the time; and five for each:
-- whether it had not enough, until when, what remains, until it is all there again, and what giving back needs to know.
-- The argument behind those of the keys: 1: debits none in any case.

local counters, refused = {}, ARGV[#ARGV] == '1'
for i = 1, #KEYS do
  local c = counter(i)
  if not c.does.open(c) then return {2, now} end
  -- Two charges may be for one counter.
  for j = 1, i - 1 do
    local other = counters[j]
    if other.key == c.key then
      c.shared, other.shared = true, true
      if c.need > 0 then c.need = c.need + other.cost end
    end
  end
  c.lacks = c.does.wait(c)
  if c.lacks ~= 0 and c.stops then refused = true end
  counters[i] = c
end

if not refused then
  for i = 1, #counters do
    local c = counters[i]
    -- What is beyond a quota that stops nobody is not debited.
    if c.lacks == 0 and c.cost > 0 then
      if c.shared then c.does.open(c) end
      c.does.debit(c, c.cost)
    end
  end
end

local answer = {refused and 1 or 0, now}
for i = 1, #counters do
  local c = counters[i]
  if c.shared then c.does.open(c) end
  local remaining, reset, mark = c.does.usage(c)
  for _, value in ipairs({c.lacks == 0 and 0 or 1, c.lacks, remaining, reset, mark}) do answer[#answer + 1] = value end
end
return answer
