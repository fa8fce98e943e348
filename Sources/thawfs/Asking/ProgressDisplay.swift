import Glibc
import Metadata
import Restore
import ThawCore

/// Shows progress on the standard error: one line that is drawn over itself on a terminal, a line now and then anywhere
/// else (and on a terminal that cannot, `TERM=dumb`). There is no colour, so `NO_COLOR` changes nothing.
struct ProgressDisplay {
    private let isLive: Bool
    private var window = RateWindow()
    private var drawnColumns = 0
    private var last: (stages: [RestoreStage: Tally], time: Timestamp)?
    private var unsaid: String?

    /// The least time between two lines where they are kept.
    private static let pause = Duration.seconds(5)

    init(environment: [String: String]) {
        isLive = isatty(STDERR_FILENO) == 1 && environment["TERM"] ?? "dumb" != "dumb"
    }

    mutating func show(_ progress: RestoreProgress, at now: Timestamp = .now()) {
        let rate = window.add(progress[.restored], at: now)
        if isLive {
            let columns = Self.columns() - 1
            return draw(progress.bar(width: columns, rate: rate, at: now), columns)
        }
        // The time that passes is no change: a line says that objects got further.
        guard progress.stages != last?.stages else { return }
        unsaid = progress.line(rate: rate, at: now)
        if let last, now < last.time + Self.pause { return }
        last = (progress.stages, now)
        say()
    }

    /// Says what was held back, and leaves the terminal's line to whatever comes next.
    mutating func end() {
        say()
        if drawnColumns > 0 { Self.write("\n") }
        drawnColumns = 0
    }

    private mutating func say() {
        if let line = unsaid.take() { Self.write(line + "\n") }
    }

    private mutating func draw(_ text: String, _ columns: Int) {
        let blanks = String(repeating: " ", count: max(min(drawnColumns, columns) - text.count, 0))
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
