import Testing
import ThawCore

@Suite("timestamps")
struct TimestampTests {
    @Test(
        "whole seconds are rounded down, before the epoch too",
        arguments: [
            (Int64(0), Int64(0)), (999_999_999, 0), (1_000_000_000, 1), (-1, -1),
            (-999_999_999, -1), (-1_000_000_000, -1),
            (-1_000_000_001, -2),
        ])
    func seconds(nanoseconds: Int64, seconds: Int64) { #expect(Timestamp(nanoseconds: nanoseconds).seconds == seconds) }

    @Test("adding and subtracting a duration undo each other, and the difference is the duration")
    func arithmetic() {
        let start = Timestamp(seconds: 1_700_000_000)
        let span = Duration.nanoseconds(86_400_000_000_001)
        #expect((start + span) - span == start)
        #expect((start + span) - start == span)
        #expect(start - (start + span) == .zero - span)
        #expect(start < start + span && start - span < start)
    }

    @Test("a duration beyond all dates is clamped, so that now and for ever is after now")
    func clamping() {
        let endless = Duration.seconds(Int64.max)
        #expect(endless.nanosecondsClamped == Int64.max / 2)
        #expect((Duration.zero - endless).nanosecondsClamped == Int64.min / 2)
        #expect(Timestamp.now() + endless > Timestamp.now())
        #expect(Duration.milliseconds(-1500).nanosecondsClamped == -1_500_000_000)
        #expect(Duration.milliseconds(1500).secondsRounded == 1.5)
    }

    @Test("now is after this test was written")
    func now() { #expect(Timestamp.now() > Timestamp(seconds: 1_700_000_000)) }
}
