package headrace.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Runs a script of SQL statements, each run a job of its own in a mini cluster inside this process, and prints
 * for each what it cost.
 *
 * <p>Arguments: the file of settings ("key: value" lines), then script files; statements end with a line ";",
 * and a query starts with the line "-- into CONNECTOR [PATH]".
 */
public final class RunQuery {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private static final String INTO = "-- into ";

    private RunQuery() {}

    public static void main(String[] arguments) throws Exception {
        for (int at = 1; at < arguments.length; at++) {
            long cpu = SYSTEM.getProcessCpuTime();
            long wall = System.nanoTime();
            run(settings(arguments[0]), Files.readString(Path.of(arguments[at])));
            System.out.printf(
                    "{\"script\": \"%s\", \"cpu_s\": %.3f, \"wall_s\": %.3f, \"peak_kb\": %d}%n",
                    Path.of(arguments[at]).getFileName(),
                    (SYSTEM.getProcessCpuTime() - cpu) / 1e9,
                    (System.nanoTime() - wall) / 1e9,
                    peakKb());
        }
        System.exit(0);
    }

    private static Configuration settings(String file) throws IOException {
        var settings = new Configuration();
        for (String line : Files.readAllLines(Path.of(file))) {
            int colon = line.indexOf(": ");
            settings.setString(line.substring(0, colon), line.substring(colon + 2));
        }
        return settings;
    }

    private static void run(Configuration settings, String script) throws Exception {
        var environment = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        var tables = StreamTableEnvironment.create(environment);
        for (String statement : script.split("\n;\n")) {
            if (!statement.isBlank()) {
                if (statement.startsWith(INTO)) {
                    tables.sqlQuery(statement).insertInto(sink(statement)).execute().await();
                } else {
                    tables.executeSql(statement);
                }
            }
        }
    }

    /** Returns the sink that the first line of a query names: a connector, and a path where it takes one. */
    private static TableDescriptor sink(String statement) {
        String[] words = statement.lines().findFirst().orElseThrow().substring(INTO.length()).split(" ");
        var sink = TableDescriptor.forConnector(words[0]);
        return words.length > 1 ? sink.option("path", words[1]).build() : sink.build();
    }

    private static long peakKb() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", ""));
            }
        }
        return 0;
    }
}
