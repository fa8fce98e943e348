import Testing
import ThawCore

@Suite("sizes and durations")
struct UnitsTests {
    @Test(
        "durations as options spell them",
        arguments: [
            ("30s", Duration.seconds(30)), ("5m", .seconds(300)), ("12h", .seconds(43_200)), ("7d", .seconds(604_800)),
            ("250ms", .milliseconds(250)), ("60", .seconds(60)), ("0", .zero), ("0s", .zero), ("007s", .seconds(7)),
            ("36600d", .seconds(36_600 * 86_400)),
        ])
    func durations(text: String, expected: Duration) { #expect(Units.duration(text) == expected) }

    @Test(
        "what is no duration is refused",
        arguments: [
            "", "s", "ms", "d", "-1s", "+1s", "1.5h", " 5s", "5s ", "5 s", "5S", "5w", "1h30m", "0x10", "٣s", "1e3",
            "36601d", "9223372036854775807s", "9223372036854775808", "99999999999999999999d",
        ])
    func badDurations(text: String) { #expect(Units.duration(text) == nil) }

    @Test(
        "sizes as coreutils reads them",
        arguments: [
            ("0", UInt64(0)), ("1", 1), ("512", 512), ("1k", 1024), ("1K", 1024), ("1KiB", 1024), ("64M", 64 << 20),
            ("100G", 100 << 30), ("1T", 1 << 40), ("2PiB", 2 << 50), ("15E", 15 << 60),
        ])
    func sizes(text: String, expected: UInt64) { #expect(Units.bytes(text) == expected) }

    @Test(
        "what is no size is refused",
        arguments: [
            "", "K", "iB", "5iB", "KiB", "-1", "+1", "1.5G", "1 G", "1KB", "1B", "1KK", "1m", "1g", "16E", "99999999999P",
            "9223372036854775808", "18446744073709551616", "٣K",
        ])
    func badSizes(text: String) { #expect(Units.bytes(text) == nil) }
}
