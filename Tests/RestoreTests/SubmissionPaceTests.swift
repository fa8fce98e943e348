import Restore
import Testing
import ThawTesting

@Suite("the pace of submission")
struct SubmissionPaceTests {
    private let start = ContinuousClock.now

    /// When each is sent by a lane that has always something to send, within this time.
    private func sent(_ pace: inout SubmissionPace, from time: ContinuousClock.Instant, for duration: Duration)
        -> [ContinuousClock.Instant]
    {
        var times: [ContinuousClock.Instant] = []
        var now = time
        while now < time + duration {
            let count = pace.allowance(at: now)
            pace.take(count)
            times += Array(repeating: now, count: count)
            now = max(pace.nextAllowance(after: now), now + .microseconds(1))
        }
        return times
    }

    /// The most that fall into any one second.
    private func most(_ times: [ContinuousClock.Instant]) -> Int {
        var (most, first) = (0, 0)
        for (index, time) in times.enumerated() {
            while times[first] <= time - .seconds(1) { first += 1 }
            most = max(most, index - first + 1)
        }
        return most
    }

    @Test("no second has more than the limit, and hardly less", arguments: [1, 5, 100, 500, 1000] as [Double])
    func limit(perSecond: Double) {
        var pace = SubmissionPace(perSecondMax: perSecond, at: start)
        let times = sent(&pace, from: start, for: .seconds(20))
        #expect(most(times) <= Int(perSecond))
        #expect(Double(times.count) >= perSecond * 20 * 0.9)
    }

    @Test("after a long rest it does not make up for it")
    func rested() {
        var pace = SubmissionPace(perSecondMax: 500, at: start)
        let allowance = pace.allowance(at: start + .seconds(3600))
        #expect(allowance <= 25)
    }

    @Test("a refusal for haste halves the rate once a second and pauses, as the store names; the first is news")
    func throttled() {
        var pace = SubmissionPace(perSecondMax: 400, at: start)
        let (first, second) = (
            pace.throttled(retryAfter: nil, at: start), pace.throttled(retryAfter: nil, at: start + .milliseconds(900))
        )
        #expect(first && !second)
        #expect(pace.perSecond == 200 && pace.pausedUntil == start + .milliseconds(1900))
        let allowance = pace.allowance(at: start + .milliseconds(1800))
        #expect(allowance == 0)
        #expect(pace.nextAllowance(after: start + .seconds(1)) == start + .milliseconds(1900))
        let third = pace.throttled(retryAfter: .seconds(30), at: start + .seconds(2))
        #expect(!third && pace.perSecond == 100)
        let fourth = pace.throttled(retryAfter: .seconds(1), at: start + .milliseconds(2500))
        #expect(!fourth)
        #expect(pace.pausedUntil == start + .seconds(32))
        let times = sent(&pace, from: start + .seconds(2), for: .seconds(40))
        #expect(times.first.map { $0 >= start + .seconds(32) } == true)
        #expect(most(times) <= 100)
    }

    @Test("it never slows to nothing, and seconds of success bring the limit back")
    func recovers() {
        var pace = SubmissionPace(perSecondMax: 100, at: start)
        for second in 0..<20 { _ = pace.throttled(retryAfter: nil, at: start + .seconds(second)) }
        #expect(pace.perSecond == 1)
        var now = start + .seconds(21)
        var seconds = 0
        while pace.perSecond < 100, seconds < 60 {
            for _ in sent(&pace, from: now, for: .seconds(1)) { pace.accepted() }
            now += .seconds(1)
            seconds += 1
        }
        #expect(pace.perSecond == 100)
        #expect((5...40).contains(seconds))
    }
}

@Suite("what was spent")
struct SpendingTests {
    /// What counts at these minutes.
    private func totals(_ spending: Spending, at minutes: Int64...) -> [UInt64] {
        var spending = spending
        return minutes.map { spending.total(at: $0) }
    }

    @Test("a charge counts for the window, and stops to count when nextRelief says")
    func window() {
        var spending = Spending(window: .seconds(3600))
        spending.charge(5, at: 100)
        spending.charge(6, at: 100)
        spending.charge(7, at: 130)
        #expect(spending.nextRelief == 160 && totals(spending, at: 159, 160, 189, 190, 1000) == [18, 7, 7, 0, 0])
        _ = spending.total(at: 160)
        #expect(spending.nextRelief == 190)
        _ = spending.total(at: 1000)
        #expect(spending.nextRelief == nil)
        #expect(spending.firstMinute(at: 160) == 101)
    }

    @Test("a window of less than a minute is one minute")
    func shortest() {
        var spending = Spending(window: .seconds(10))
        spending.charge(5, at: 100)
        #expect(totals(spending, at: 100, 101) == [5, 0])
    }

    @Test("a refund takes back the latest charges, and no more than there is")
    func refund() {
        var spending = Spending(window: .seconds(3600))
        spending.refund(5)
        spending.charge(5, at: 100)
        spending.charge(6, at: 101)
        spending.refund(4)
        #expect(totals(spending, at: 101) == [7])
        spending.refund(4)
        #expect(totals(spending, at: 101) == [3])
        spending.refund(100)
        #expect(totals(spending, at: 101) == [0])
    }

    @Test("a clock that was set back charges the latest minute")
    func clockSetBack() {
        var spending = Spending(window: .seconds(3600))
        spending.charge(5, at: 100)
        spending.charge(6, at: 50)
        #expect(totals(spending, at: 100) == [11] && spending.nextRelief == 160)
    }

    @Test("any sequence of charges sums to what a recount finds", arguments: [1, 2, 3] as [UInt64])
    func recounted(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var spending = Spending(window: .seconds(600))
        var charges: [(minute: Int64, bytes: UInt64)] = []
        var minute: Int64 = 0
        for _ in 0..<500 {
            minute += Int64.random(in: 0...4, using: &random)
            charges.append((minute, UInt64.random(in: 0...9, using: &random)))
            spending.charge(charges.last?.bytes ?? 0, at: minute)
            let counted = charges.filter { $0.minute > minute - 10 }.reduce(0) { $0 + $1.bytes }
            let total = spending.total(at: minute)
            #expect(total == counted)
        }
    }
}
