// Turns a loop into something to try: a tutorial that it learns while one looks, a call of one's own, and code to copy.

import { html, useEffect, useState } from "/page/preact.js";
import { api, useData } from "/page/core.js";
import { Shown } from "/page/parts.js";
import { OneCall } from "/page/views/try-call.js";
import { Learning } from "/page/views/try-learn.js";
import { currentRun, onRun } from "/page/views/try-run.js";

/** `state.scenario` is the tutorial that is chosen, `state.code` the language of the program. */
export default function Try({ loop, may, state, go }) {
  const run = useRun();
  const kind = useData((signal) => api("personalizer/v1.0/configurations/policy", { signal }), [loop]);
  const set = (changes) => go("try", { ...state, ...changes }, { replace: true });
  return html`
    <h1>Try it</h1>
    <${Shown} of=${kind}>
      ${(policy) => {
        const several = policy.arguments.includes("--ccb_explore_adf");
        return html`
          <${Learning} loop=${loop} may=${may} several=${several} run=${run} state=${state} set=${set} />
          <${OneCall} key=${String(several)} loop=${loop} may=${may} several=${several} run=${run?.loop === loop ? run : null} state=${state} set=${set} />
        `;
      }}
    <//>
  `;
}

/** The run of this page, with each change of it. */
function useRun() {
  const [, turn] = useState(0);
  const [run, setRun] = useState(currentRun);
  useEffect(() => onRun(() => setRun(currentRun())), []);
  useEffect(() => run?.listen(() => turn((n) => n + 1)), [run]);
  return run;
}
