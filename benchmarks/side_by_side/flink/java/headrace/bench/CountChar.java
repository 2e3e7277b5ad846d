package headrace.bench;

import org.apache.flink.table.functions.ScalarFunction;

/** How often a letter stands in a text (query 14). */
public final class CountChar extends ScalarFunction {
    public long eval(String text, String letter) {
        long count = 0;
        if (text != null) {
            char wanted = letter.charAt(0);
            for (int at = 0; at < text.length(); at++) {
                if (text.charAt(at) == wanted) {
                    count++;
                }
            }
        }
        return count;
    }
}
