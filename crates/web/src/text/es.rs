//! The words in Spanish.

use super::words::{
    BudgetWords, Common, ConfirmWords, HomeWords, LandingWords, LoginWords, MailboxWords, OperatorsWords,
    ProblemWords, ProgressWords, RefusalWords, SignupWords, Words,
};
use super::{
    Breaker, CheckoutPath, LoginState, Notice, Problem, Role, SlotState, StepKey, StepStatus, Trouble, Way,
};

/// The table.
pub(super) static WORDS: Words = Words {
    common: Common {
        skip: "Ir al contenido",
        language: "Idioma",
        tagline: "A cada empresa, su propia puerta.",
        served_by: "Atiende la puerta",
        error_prefix: "Error:",
        fix_below: "Falta corregir algo. Está indicado bajo cada campo.",
        email: "Correo electrónico",
        password: "Contraseña",
        show_password: "Mostrar",
        hide_password: "Ocultar",
        password_rules: "De 8 a 128 caracteres. Una frase larga es mejor que un enredo corto.",
        request_id: "Número de la solicitud",
    },
    landing: LandingWords {
        title: "Portero: la puerta de tu empresa y su propia base de datos",
        headline: "La puerta de tu empresa.",
        headline_second: "Y detrás, su propia base de datos.",
        lead: "Elige un nombre y tu empresa recibe una dirección que es sólo suya, con una base de datos \
               PostgreSQL donde no hay datos de nadie más.",
        sign_up: "Registrar mi empresa",
        sign_up_note: "Son cuatro campos. Ves cómo se prepara todo y entras.",
        example: "tu-empresa",
        points_title: "Qué hay detrás de la puerta",
        address_title: "Una dirección propia",
        address_text: "Tu gente entra por el subdominio de tu empresa y ve su nombre. No hay una recepción \
                       compartida con otras.",
        database_title: "Una base de datos sólo tuya",
        database_text: "Tus datos no son filas entre las filas de otros. Tu base de datos tiene su propia llave, y \
                        esa llave no abre ninguna otra.",
        people_title: "Tú decides quién entra",
        people_text: "Empiezas como administrador. Agregas a tu gente, le das un rol, y a quien se va le cierras la \
                      puerta.",
        find_title: "¿Tu empresa ya está aquí?",
        find_text: "Escribe su subdominio y te llevamos a su puerta.",
        find_label: "Subdominio de tu empresa",
        find_button: "Ir a mi empresa",
    },
    signup: SignupWords {
        title: "Registra tu empresa",
        lead: "Con esto preparamos su dirección y su base de datos.",
        company: "Nombre de la empresa",
        company_hint: "Tal como lo escriben ustedes.",
        subdomain: "Subdominio",
        subdomain_hint: "De 3 a 40 letras sin acento, números y guiones.",
        address: "La dirección de tu empresa",
        example: "tu-empresa",
        email_hint: "Con este correo entrarás como administrador.",
        submit: "Abrir mi puerta",
        submit_note: "En la página siguiente ves cada paso.",
        confirm_note: "Te enviaremos un enlace. Allí eliges tu contraseña, y se hace tu puerta.",
        invited: "Tienes una invitación: esto toma un minuto.",
        checking: "Viendo si está libre…",
        available: "Está libre.",
    },
    confirm: ConfirmWords {
        sent_title: "Mira tu correo",
        sent_text: "Te enviamos un enlace. Ábrelo, elige tu contraseña y pulsa el botón: entonces se hace tu puerta.",
        sent_hint: "Antes de eso no se hace nada. El nombre se te guarda mientras el enlace sirva; el correo dice cuánto.",
        sent_again: "¿No llega? Mira entre los no deseados. Si escribiste mal tu dirección, regístrate de nuevo con otro nombre.",
        title: |company| format!("Abre la puerta de {company}"),
        text: "Elige la contraseña con la que entrarás. Una pulsación, y se hacen la dirección y la base de datos de tu empresa.",
        submit: "Abrir mi puerta",
        not_you: "¿No lo pediste tú? Cierra esta página: no pasa nada.",
        busy: "Se están haciendo muchas empresas ahora mismo. Espera unos segundos y pulsa de nuevo: tu enlace sigue sirviendo.",
        subject: |address| format!("Confirma {address}"),
        greeting: "Hola:",
        asked: |address| format!("alguien, creemos que tú, pidió la dirección {address}."),
        asked_for: |address, company| {
            format!("alguien, creemos que tú, pidió la dirección {address} para {company}.")
        },
        press: "Para que se haga, abre este enlace, elige tu contraseña y pulsa el botón que hay allí:",
        button: "Abrir el enlace",
        lasts: |hours| format!("El enlace sirve una vez, durante {hours} horas."),
        ignore: "Si no fuiste tú, no hagas nada: no se hace nada, y el nombre queda libre otra vez.",
    },
    mailbox: MailboxWords {
        title: "Buzón",
        lead: "Los correos que este Portero enviaría si tuviera un servidor con qué enviarlos (PORTERO_SMTP_URL).",
        none: "Todavía no hay correos.",
        to: "Para",
        subject: "Asunto",
        written: "Escrito",
        back: "Todos los correos",
        text: "Como texto",
        html: "Como HTML",
        erased: "Lo que decía se borró.",
    },
    progress: ProgressWords {
        running_title: |company| format!("Estamos preparando {company}"),
        running_text: "Puedes quedarte mirando. Al terminar, la puerta se abre sola.",
        undoing_text: "Algo falló de nuestro lado, no en lo que escribiste. Lo empezado se está deshaciendo; después \
                       puedes intentarlo otra vez con el mismo nombre. Esta página te avisa.",
        done_title: |company| format!("{company} está lista"),
        done_text: "La puerta está abierta. Te llevamos adentro.",
        failed_title: |company| format!("No pudimos terminar {company}"),
        failed_text: "Algo falló de nuestro lado, no en lo que escribiste. Puedes intentarlo otra vez. Si vuelve a \
                      fallar, dinos este número.",
        steps: "Pasos",
        enter: "Entrar",
        try_again: "Intentar otra vez",
        job_id: "Número del trabajo",
    },
    login: LoginWords {
        title: "Entrar",
        lead: |company| format!("Entra a {company}"),
        submit: "Entrar",
        help: "¿No tienes acceso? Pídelo a quien administra los usuarios de tu empresa.",
    },
    operators: OperatorsWords {
        title: "Consola",
        lead: "Entra a la consola",
        token: "Token de operador",
        submit: "Abrir la consola",
        help: "Un token se crea en el servidor con: portero operator add NOMBRE",
        refused: "Este token no es válido, o ya no lo es.",
        too_many: "Demasiados intentos desde esta dirección. Espera un minuto y prueba otra vez.",
    },
    home: HomeWords {
        people: "Personas",
        people_admin_text: "Quiénes pueden entrar por esta puerta.",
        people_member_text: "Quiénes pueden entrar por esta puerta. Los cambios los hace un administrador.",
        log_out: "Salir",
        you: "tú",
        role: "Rol",
        status: "Estado",
        active: "Activo",
        disabled: "Desactivado",
        created: "Desde",
        actions: "Acciones",
        make_admin: "Hacer administrador",
        make_member: "Hacer miembro",
        disable: "Desactivar",
        enable: "Activar",
        last_admin: "Es el último administrador activo: alguien debe quedarse con las llaves.",
        more: "Ver más",
        add_title: "Agregar a alguien",
        add_text: "Podrá entrar enseguida con este correo y esta contraseña.",
        add_submit: "Agregar",
    },
    budget: BudgetWords {
        title: "Conexiones",
        lead: "Cómo se reparten en este momento las conexiones de cada servidor. Las solicitudes y los tiempos se cuentan \
               desde que partió este enrutador.",
        pause: "Dejar de actualizar",
        resume: "Actualizar sola",
        away: "Portero no responde. Estas son sus últimas cifras.",
        none: "Todavía no se conoce ningún servidor.",
        not_asked: "Aún no se le preguntó al servidor cuántas conexiones soporta.",
        sum: |granted, capacity| {
            format!(
                "{capacity} conexiones para todas las empresas juntas; este enrutador puede tener {granted}."
            )
        },
        rest_unknown: "De otros enrutadores o de nadie",
        waiting: |requests, companies| match (requests, companies) {
            (0, _) => "Ninguna solicitud espera.".to_owned(),
            (1, _) => "1 solicitud espera.".to_owned(),
            (_, 1) => format!("{requests} solicitudes de 1 empresa esperan."),
            _ => format!("{requests} solicitudes de {companies} empresas esperan."),
        },
        checkouts: "Cómo consiguen conexión las solicitudes",
        way: "Vía",
        requests: "Solicitudes",
        median: "La mitad en",
        p99: "El 99 % en",
        top: "Las empresas que más tienen y más esperan",
        top_none: "Ninguna empresa tiene una conexión.",
        company: "Empresa",
        waiting_column: "En espera",
        leases: "La parte de cada enrutador en las conexiones",
        leases_none: "Ningún enrutador tiene conexiones ahí.",
        no_registry: "El registro no responde: no se sabe cuánto tienen los demás enrutadores.",
        open: "abiertas",
        granted: "concedidas",
        other: "otras",
        this_router: "este",
        used_of: |used, granted| format!("{used} de {granted}"),
        silent: "en silencio: su plazo venció",
    },
    console: &super::console::es::WORDS,
    refusals: RefusalWords {
        required: "Falta llenar este campo.",
        too_short: "Faltan caracteres: necesita al menos {}.",
        too_long: "Sobran caracteres: caben hasta {}.",
        unprintable: "Tiene caracteres que no se pueden mostrar.",
        not_a_label: "Sólo letras de la a a la z sin acento, números y guiones. Necesita alguna letra, sin guion al \
                      principio ni al final.",
        reserved: "Ese nombre está reservado. Elige otro.",
        taken: "Ese nombre ya está tomado. Elige otro.",
        email_taken: "Ya hay una persona con ese correo.",
        not_an_email: "No parece un correo electrónico. Por ejemplo: ana@empresa.com",
        too_common: "Se adivina fácilmente. Evita contraseñas comunes, tu nombre y el de la empresa.",
        not_allowed: "No es una de las opciones.",
        unknown: "Revisa este campo.",
    },
    problem,
    step,
    step_status,
    role,
    notice,
    trouble,
    login_state,
    way,
    breaker,
    checkout_path,
    slot,
    months: ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"],
};

fn problem(problem: Problem) -> ProblemWords {
    let (title, text) = match problem {
        Problem::TenantNotFound => (
            "Aquí no vive ninguna empresa",
            "Nadie tiene esta dirección. Revisa cómo está escrita o, si te gusta, quédate con ella.",
        ),
        Problem::TenantProvisioning => (
            "Todavía estamos preparando este lugar",
            "La empresa se registró. Esta página se actualiza sola y se abre apenas esté lista. Si tarda más de unos minutos, algo falló; quien la registró ve qué en la página a la que se le llevó.",
        ),
        Problem::TenantUpgrading => (
            "Estamos mejorando este lugar",
            "La empresa se está poniendo al día; casi siempre es cosa de un momento. Nada de lo que tenías aquí se pierde, y si estabas enviando algo, envíalo de nuevo.",
        ),
        Problem::TenantPaused => (
            "Esta puerta está cerrada por ahora",
            "La empresa está en pausa. Sus datos siguen donde estaban. Quien la administra puede decirte más.",
        ),
        Problem::TenantDeleted => (
            "Esta empresa ya no está aquí",
            "Se eliminó. Sus datos se guardan por un tiempo y nadie los ve. Si fue por error, quien la administraba debe avisar pronto: todavía puede volver.",
        ),
        Problem::TenantMoved => (
            "Esta empresa se mudó",
            "Tiene una dirección nueva, y lo que enviaste a la anterior no se aceptó. Empieza allí y envíalo de nuevo.",
        ),
        Problem::TenantDatabaseUnavailable => (
            "No llegamos a la base de datos",
            "Es un problema nuestro y suele pasar pronto. Intenta de nuevo en un momento.",
        ),
        Problem::TenantBusy => (
            "Hay mucha gente en la puerta",
            "Llegan más solicitudes de las que podemos atender ahora. Intenta de nuevo en unos segundos.",
        ),
        Problem::TenantRateLimited => (
            "Esta empresa va muy rápido",
            "Su gente y sus programas hicieron demasiadas solicitudes en poco tiempo. Espera unos segundos e intenta otra vez.",
        ),
        Problem::NotServedHere => (
            "Esto llegó a otra máquina nuestra",
            "La plataforma se sirve desde varias, y esta dirección es de otra. Nos toca arreglarlo a nosotros: intenta de nuevo en un rato.",
        ),
        Problem::Unavailable => (
            "Volvemos en un momento",
            "Una parte del servicio no responde. Las empresas ya abiertas no dependen de ella.",
        ),
        Problem::HostInvalid => (
            "No entendimos la dirección",
            "El nombre con que llegaste no es una dirección válida. Revisa cómo está escrita.",
        ),
        Problem::BadRequest => {
            ("No entendimos la solicitud", "Vuelve atrás, recarga la página e intenta otra vez.")
        }
        Problem::CrossSite => (
            "No aceptamos este formulario",
            "Llegó desde otro sitio o desde una página que llevaba mucho tiempo abierta. Recárgala e intenta otra vez.",
        ),
        Problem::Forbidden => ("No puedes pasar por aquí", "Esto es para los administradores de la empresa."),
        Problem::NotFound => ("Esta página no existe", "Puede que el enlace esté mal copiado o sea antiguo."),
        Problem::MethodNotAllowed => {
            ("Así no se llega a esta página", "Entra desde el principio y sigue los botones.")
        }
        Problem::TooLarge => ("Es demasiado", "Enviaste más de lo que aceptamos de una vez."),
        Problem::TooManyRequests => {
            ("Demasiado rápido", "Hiciste muchas solicitudes seguidas. Espera un poco e intenta otra vez.")
        }
        Problem::SignupClosed => (
            "Por ahora no recibimos empresas nuevas",
            "Los registros están cerrados. Las empresas que ya están siguen igual.",
        ),
        Problem::InvitationNeeded => (
            "Hace falta una invitación",
            "Las empresas nuevas vienen con invitación. Si tienes una, abre su enlace tal cual; sirve una vez, y no para siempre.",
        ),
        Problem::LinkSpent => (
            "Este enlace ya no sirve",
            "Se usó, se le pasó el tiempo, o un correo más nuevo tiene el enlace bueno: cada registro con el mismo nombre reemplaza al anterior. Si lo usaste tú, tu empresa ya está en su dirección; si no, busca el correo más nuevo o regístrate de nuevo.",
        ),
        Problem::Internal => (
            "Algo falló de nuestro lado",
            "No es culpa tuya. Intenta otra vez y, si se repite, dinos este número.",
        ),
    };
    ProblemWords { title, text }
}

fn step(step: StepKey) -> &'static str {
    match step {
        StepKey::Reserve => "Reservar tu nombre",
        StepKey::DatabaseCleanup => "Despejar el terreno",
        StepKey::ClaimOrCreateDatabase => "Crear tu base de datos",
        StepKey::Role => "Hacer su llave",
        StepKey::Grants => "Que la llave abra sólo tu puerta",
        StepKey::Migrate => "Armar el interior",
        StepKey::SeedAdmin => "Crear tu cuenta",
        StepKey::Verify => "Comprobar que todo funciona",
        StepKey::Activate => "Abrir la puerta",
    }
}

fn step_status(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "por hacer",
        StepStatus::Running => "en curso",
        StepStatus::Done => "listo",
        StepStatus::Failed => "falló",
        StepStatus::Undone => "deshecho",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "Administrador",
        Role::Member => "Miembro",
    }
}

fn notice(notice: Notice) -> &'static str {
    match notice {
        Notice::Welcome => "Te damos la bienvenida. Esta es tu puerta: guarda su dirección.",
        Notice::UserAdded => "Listo: ya puede entrar.",
        Notice::RoleChanged => "Cambiamos su rol.",
        Notice::UserDisabled => "Ya no puede entrar.",
        Notice::UserEnabled => "Puede entrar de nuevo.",
        Notice::LastAdmin => "No se puede: es el último administrador activo.",
        Notice::UserGone => "Esa persona ya no está en la lista.",
        Notice::NotAllowed => "Sólo un administrador puede hacer eso.",
    }
}

fn trouble(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Busy => {
            "Hay muchas empresas registrándose ahora mismo. Lo que escribiste sigue aquí: intenta de nuevo en un minuto."
        }
        Trouble::TooMany => {
            "Desde tu conexión ya se registraron varias empresas. Intenta de nuevo más tarde."
        }
        Trouble::TooManyWaiting => {
            "Varios registros de tu conexión esperan a que se abra su correo. Confirma esos primero, o inténtalo más tarde."
        }
        Trouble::Stale => "Este formulario ya se envió, con otros datos. Por favor, envíalo una vez más.",
        Trouble::Unavailable => {
            "Ahora mismo no podemos registrar empresas. Intenta de nuevo en unos minutos."
        }
        Trouble::Closed => "Los registros están cerrados por ahora.",
    }
}

fn login_state(state: LoginState) -> Option<&'static str> {
    match state {
        LoginState::Fresh => None,
        LoginState::Refused => Some("El correo o la contraseña no corresponden."),
        LoginState::TooManyAttempts => Some("Demasiados intentos. Espera unos minutos y prueba otra vez."),
        LoginState::LoggedOut => Some("Saliste. Hasta pronto."),
        LoginState::Expired => Some("Pasó mucho tiempo desde que entraste. Entra de nuevo."),
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Signup => "Registrar una empresa",
        Way::Home => "Ir al inicio",
        Way::Retry => "Probar de nuevo",
        Way::Login => "Ir a la entrada",
    }
}

fn breaker(breaker: Breaker) -> &'static str {
    match breaker {
        Breaker::Closed => "Responde",
        Breaker::Open => "No responde: sus empresas se rechazan enseguida hasta que vuelva",
        Breaker::SlowStart => "Volvió: se conecta de a poco",
    }
}

fn checkout_path(path: CheckoutPath) -> &'static str {
    match path {
        CheckoutPath::Idle => "Tenía una libre",
        CheckoutPath::Create => "Se abrió una",
        CheckoutPath::Evict => "Otra empresa cedió una libre",
        CheckoutPath::Queue => "Esperó en la fila",
    }
}

fn slot(state: SlotState) -> &'static str {
    match state {
        SlotState::InUse => "En uso",
        SlotState::Connecting => "Abriéndose",
        SlotState::Closing => "Cerrándose",
        SlotState::Idle => "En reposo",
        SlotState::Free => "Por abrir",
        SlotState::Others => "De otros",
        SlotState::Rest => "Sin conceder",
    }
}
