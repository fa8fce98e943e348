package import ThawCore

/// The ways in which dates travel, all in UTC.
package enum WireDate {
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Thu, 24 Sep 2020 12:40:33 GMT` (HTTP headers); fractions of a second are dropped.
    package static func rfc1123(_ time: Timestamp) -> String {
        let civil = Civil(time)
        let weekday = weekdays[Int((civil.dayNumber % 7 + 7) % 7)]
        let month = months[civil.month - 1]
        return
            "\(weekday), \(pad(civil.day, 2)) \(month) \(pad(civil.year, 4)) \(civil.clock) GMT"
    }

    /// Takes what `rfc1123(_:)` makes; the weekday is not compared with the date.
    package static func parseRFC1123(_ text: some StringProtocol) -> Timestamp? {
        var scan = Scanner(text)
        guard let weekday = scan.word(3), weekdays.contains(weekday), scan.skip(","), scan.skip(" "),
            let day = scan.number(2), scan.skip(" "), let name = scan.word(3),
            let month = months.firstIndex(of: name), scan.skip(" "), let year = scan.number(4),
            scan.skip(" "),
            let hour = scan.number(2), scan.skip(":"), let minute = scan.number(2), scan.skip(":"),
            let second = scan.number(2), scan.skip(" "), scan.word(3) == "GMT", scan.atEnd
        else { return nil }
        return Civil(year, month + 1, day, hour, minute, second)?.timestamp
    }

    /// `2024-10-23T05:25:24.000Z` (XML elements), to the millisecond.
    package static func iso8601(_ time: Timestamp) -> String {
        let civil = Civil(time)
        let milliseconds = Int((time.nanoseconds - time.seconds * 1_000_000_000) / 1_000_000)
        return
            [pad(civil.year, 4), pad(civil.month, 2), pad(civil.day, 2)].joined(separator: "-")
            + "T\(civil.clock).\(pad(milliseconds, 3))Z"
    }

    /// `2024-10-23T05:25:24Z` (`x-acs-date`); fractions of a second are dropped.
    package static func iso8601Seconds(_ time: Timestamp) -> String {
        let civil = Civil(time)
        let day = [pad(civil.year, 4), pad(civil.month, 2), pad(civil.day, 2)].joined(separator: "-")
        return "\(day)T\(civil.clock)Z"
    }

    /// With a fraction of one to nine digits or without.
    package static func parseISO8601(_ text: String) -> Timestamp? {
        var scan = Scanner(text)
        guard let year = scan.number(4), scan.skip("-"), let month = scan.number(2), scan.skip("-"),
            let day = scan.number(2), scan.skip("T"), let hour = scan.number(2), scan.skip(":"),
            let minute = scan.number(2), scan.skip(":"), let second = scan.number(2)
        else { return nil }
        var nanoseconds = 0
        if scan.skip(".") {
            guard let fraction = scan.fraction() else { return nil }
            nanoseconds = fraction
        }
        guard scan.skip("Z"), scan.atEnd, let civil = Civil(year, month, day, hour, minute, second) else {
            return nil
        }
        return civil.timestamp + .nanoseconds(nanoseconds)
    }

    /// `20231216T162057Z` (`x-oss-date`, `x-amz-date`); its first eight characters are the day of a
    /// signature's scope.
    package static func basic(_ time: Timestamp) -> String {
        let civil = Civil(time)
        let clock = civil.clock.filter { $0 != ":" }
        return "\(pad(civil.year, 4))\(pad(civil.month, 2))\(pad(civil.day, 2))T\(clock)Z"
    }

    package static func parseBasic(_ text: some StringProtocol) -> Timestamp? {
        var scan = Scanner(text)
        guard let year = scan.number(4), let month = scan.number(2), let day = scan.number(2), scan.skip("T"),
            let hour = scan.number(2), let minute = scan.number(2), let second = scan.number(2),
            scan.skip("Z"),
            scan.atEnd
        else { return nil }
        return Civil(year, month, day, hour, minute, second)?.timestamp
    }
}

private func pad(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// A date and time of the proleptic Gregorian calendar, in UTC.
private struct Civil {
    /// Days since 1 January 1970.
    let dayNumber: Int64
    let year: Int
    let month: Int
    let day: Int
    let secondOfDay: Int

    var clock: String {
        "\(pad(secondOfDay / 3600, 2)):\(pad(secondOfDay / 60 % 60, 2)):\(pad(secondOfDay % 60, 2))"
    }
    var timestamp: Timestamp { Timestamp(seconds: dayNumber * 86400 + Int64(secondOfDay)) }

    init(_ time: Timestamp) {
        let seconds = time.seconds
        dayNumber = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
        secondOfDay = Int(seconds - dayNumber * 86400)
        // Years that begin in March put the leap day last, so that a month's offset needs no table.
        let shifted = dayNumber + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
        month = Int(monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9)
        year = Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0)
    }

    /// Nil for a date that does not exist or that a `Timestamp` cannot hold. A leap second counts as the one
    /// before.
    init?(_ year: Int, _ month: Int, _ day: Int, _ hour: Int, _ minute: Int, _ second: Int) {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1678...2261).contains(year), (1...12).contains(month), (1...lengths[month - 1]).contains(day),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        let fromMarch = Int64(month <= 2 ? year - 1 : year)
        let era = fromMarch / 400
        let yearOfEra = fromMarch - era * 400
        let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1)
        dayNumber = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        secondOfDay = hour * 3600 + minute * 60 + min(second, 59)
        (self.year, self.month, self.day) = (year, month, day)
    }
}

/// Walks over the bytes of a date.
private struct Scanner {
    private var rest: ArraySlice<UInt8>

    init(_ text: some StringProtocol) { rest = Array(text.utf8)[...] }
    init(_ text: String) { rest = Array(text.utf8)[...] }

    var atEnd: Bool { rest.isEmpty }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest = rest.dropFirst()
        return true
    }

    mutating func word(_ length: Int) -> String? {
        guard rest.count >= length else { return nil }
        defer { rest.removeFirst(length) }
        return String(decoding: rest.prefix(length), as: UTF8.self)
    }

    mutating func number(_ length: Int) -> Int? {
        guard rest.count >= length else { return nil }
        var number = 0
        for byte in rest.prefix(length) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            number = number * 10 + Int(byte - UInt8(ascii: "0"))
        }
        rest = rest.dropFirst(length)
        return number
    }

    /// Nanoseconds of a fraction of one to nine digits.
    mutating func fraction() -> Int? {
        var nanoseconds = 0
        var unit = 100_000_000
        while let digit = number(1) {
            guard unit > 0 else { return nil }
            nanoseconds += digit * unit
            unit /= 10
        }
        return unit == 100_000_000 ? nil : nanoseconds
    }
}
