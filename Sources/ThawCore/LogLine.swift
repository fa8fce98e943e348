internal import Glibc
package import Logging

/// Log lines on one descriptor, one `write` each, so that lines of several threads never mix:
/// `2026-11-21T03:04:05Z warning restore: message key=value`. Control characters become question marks.
package struct LogLine: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let label: String
    private let descriptor: Int32

    package init(label: String, level: Logger.Level, descriptor: Int32) {
        self.label = label
        self.logLevel = level
        self.descriptor = descriptor
    }

    package subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = timestamp() + " \(event.level) \(label): \(event.message)"
        let all = event.metadata.map { metadata.merging($0) { $1 } } ?? metadata
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        let bytes = Array((line.printable + "\n").utf8)
        // A log that cannot be written has nowhere to say so.
        _ = write(descriptor, bytes, bytes.count)
    }

    private func timestamp() -> String {
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }
}
