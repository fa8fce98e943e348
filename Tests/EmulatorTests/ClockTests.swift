import Testing
import ThawCore

@testable import Emulator

@Suite struct ClockTests {
    private let start = Timestamp(seconds: 1_800_000_000)

    @Test("the clock runs with the real one, and ahead of it once it is advanced")
    func advance() {
        var clock = VirtualClock(real: start, virtual: start, scale: 1)
        #expect(clock.time(real: start + .seconds(5)) == start + .seconds(5))
        clock.advance(by: .seconds(3600), real: start + .seconds(5))
        #expect(clock.time(real: start + .seconds(6)) == start + .seconds(3606))
    }

    @Test("a change of scale is no jump")
    func scale() {
        var clock = VirtualClock(real: start, virtual: start, scale: 1)
        clock.setScale(60, real: start + .seconds(10))
        #expect(clock.time(real: start + .seconds(10)) == start + .seconds(10))
        #expect(clock.time(real: start + .seconds(11)) == start + .seconds(70))
        clock.setScale(0, real: start + .seconds(11))
        #expect(clock.time(real: start + .seconds(1000)) == start + .seconds(70))
    }

    @Test("a real clock that goes back does not take the virtual one along")
    func backwards() {
        let clock = VirtualClock(real: start, virtual: start, scale: 1)
        #expect(clock.time(real: start - .seconds(100)) == start)
    }

    @Test(
        "spans are numbers with units",
        arguments: [
            ("90", Duration.seconds(90)), ("12h", .seconds(43200)), ("2d", .seconds(172_800)),
            ("1h30m", .seconds(5400)),
            ("1.5m", .seconds(90)), ("250ms", .milliseconds(250)), ("0", .zero),
        ]
    )
    func spans(text: String, duration: Duration) { #expect(Duration(span: text) == duration) }

    @Test("what is no span is refused", arguments: ["", "h", "soon", "1w", "-5s", "1h 2m", "9999999999d"])
    func noSpans(text: String) { #expect(Duration(span: text) == nil) }
}
