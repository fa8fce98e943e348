import Testing
import ThawCore

@Suite("sizes, durations and counts for people")
struct UnitsTextTests {
    @Test(
        "a size has one decimal at the most, and the unit that keeps it below 1024",
        arguments: [
            (UInt64(0), "0 B"), (1, "1 B"), (1023, "1,023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1_048_575, "1 MiB"),
            (10 << 20, "10 MiB"), (540_213_002_240, "503.1 GiB"), (1_319_413_953_331, "1.2 TiB"), (1 << 60, "1 EiB"),
            (.max, "16 EiB"),
        ])
    func sizes(bytes: UInt64, text: String) { #expect(Units.text(bytes: bytes) == text) }

    @Test(
        "a duration has its two largest units, and hours up to three days",
        arguments: [
            (Duration.zero, "0 s"), (.milliseconds(999), "0 s"), (.seconds(59), "59 s"), (.seconds(60), "1 min"),
            (.seconds(3599), "59 min 59 s"), (.seconds(3600), "1 h"), (.seconds(7800), "2 h 10 min"),
            (.seconds(48 * 3600), "48 h"), (.seconds(72 * 3600), "3 d"), (.seconds(7 * 86_400 + 4 * 3600), "7 d 4 h"),
            (.seconds(-5), "0 s"),
        ])
    func durations(duration: Duration, text: String) { #expect(Units.text(duration) == text) }

    @Test(
        "thousands are told apart",
        arguments: [
            (0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567"), (-100, "-100"),
            (-1000, "-1,000"),
        ])
    func counts(number: Int, text: String) { #expect(Units.count(number) == text) }
}
