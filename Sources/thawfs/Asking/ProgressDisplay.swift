import Glibc
import Restore
import ThawCore

/// Shows progress on the standard error: one line that is drawn over itself on a terminal, a line now and then anywhere
/// else (and on a terminal that cannot, `TERM=dumb`). There is no colour, so `NO_COLOR` changes nothing.
struct ProgressDisplay {
    private let isLive: Bool
    private var window = RateWindow()
    private var drawnColumns = 0
    private var last: (line: String, time: Timestamp)?

    /// The least time between two lines where they are kept.
    private static let pause = Duration.seconds(5)

    init(environment: [String: String]) {
        isLive = isatty(STDERR_FILENO) == 1 && environment["TERM"] ?? "dumb" != "dumb"
    }

    mutating func show(_ progress: RestoreProgress, at now: Timestamp = .now()) {
        let rate = window.add(progress[.restored], at: now)
        if isLive { return draw(progress.bar(width: Self.columns() - 1, rate: rate, at: now)) }
        // What moves by itself is no change: a line says that objects did.
        let line = progress.line(at: Timestamp.epoch)
        if let last, line == last.line || (now < last.time + Self.pause && !progress.isFinished) { return }
        last = (line, now)
        Self.write(progress.line(rate: rate, at: now) + "\n")
    }

    /// Leaves the terminal's line to whatever comes next.
    mutating func end() {
        if drawnColumns > 0 { Self.write("\n") }
        drawnColumns = 0
    }

    private mutating func draw(_ text: String) {
        let blanks = String(repeating: " ", count: max(drawnColumns - text.count, 0))
        Self.write("\r" + text + blanks)
        drawnColumns = text.count
    }

    private static func columns() -> Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    private static func write(_ text: String) {
        let bytes = Array(text.utf8)
        // Progress that cannot be shown is no reason to stop.
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
