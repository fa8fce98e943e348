import Glibc
import ThawCore

/// Shows progress on the standard error: one line that is drawn over itself on a terminal, a line now and then anywhere
/// else (and on a terminal that cannot, `TERM=dumb`). There is no colour, so `NO_COLOR` changes nothing.
struct ProgressDisplay {
    private let isLive: Bool
    private var drawnColumns = 0
    private var lastSaid: Timestamp?
    private var unsaid: String?

    /// The least time between two lines where they are kept.
    private static let pause = Duration.seconds(5)

    init(environment: [String: String]) {
        isLive = isatty(STDERR_FILENO) == 1 && environment["TERM"] ?? "dumb" != "dumb"
    }

    /// Where lines are kept, only what `isNews` is worth one: the time that passes is not.
    ///
    /// - Parameter bar: the same for a terminal, as wide as it is told at the most
    mutating func show(
        isNews: Bool, line: @autoclosure () -> String, at now: Timestamp = .now(), bar: (_ columns: Int) -> String
    ) {
        if isLive {
            let columns = Self.columns() - 1
            return draw(bar(columns), columns)
        }
        // What was held back is said as it is by then.
        guard isNews || unsaid != nil else { return }
        unsaid = line()
        if let lastSaid, now < lastSaid + Self.pause { return }
        lastSaid = now
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
